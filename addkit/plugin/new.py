"""Write a package with one component, the worked example of its kind, or one command. No torch."""

from __future__ import annotations

import importlib.util
import inspect
import keyword
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from string import Template

from addkit.errors import UsageError
from addkit.plugin.contract import protocol_of
from addkit.plugin.registry import load_registry
from addkit.plugin.spec import API_VERSION, KINDS
from addkit.version import __version__

TEMPLATES = Path(__file__).parents[1] / "templates"

COMPONENT_FILES = {
    "plugin/pyproject.toml": "pyproject.toml",
    "plugin/README.md": "README.md",
    "plugin/__init__.py": "src/{module}/__init__.py",
    "plugin/component.py": "src/{module}/component.py",
    "plugin/conftest.py": "tests/conftest.py",
    "plugin/test_plugin.py": "tests/test_{module}.py",
    "plugin/recipe.toml": "recipes/{name}.toml",
}
COMMAND_FILES = {
    "plugin/pyproject.toml": "pyproject.toml",
    "command/README.md": "README.md",
    "command/__init__.py": "src/{module}/__init__.py",
    "command/command.py": "src/{module}/command.py",
    "command/test_plugin.py": "tests/test_{module}.py",
}
"""Template -> the file that it becomes."""

BASES = {"tokenizer": "emoji"}
"""The recipe that the example's recipe extends, where it is not `digits`."""

LAST_STEP = (
    '\n[read_out]\nname = "last"    # "one-pass" takes one step, where this changes nothing\n'
)
TABLES = {
    "sampler": LAST_STEP,
    "to_one": LAST_STEP,
    "read_out": "\n[sampling]\nchains = 4\n",
    "task": "\n[control]\nheads = []\n",
    "tokenizer": '\n[data]\nname = "emoji"\nmax_tokens = 48\n\n[training]\nepochs = 3\n'
    "\n[control]\nheads = []\n",
}
"""Tables that the example's recipe needs in addition."""

_EXAMPLE = re.compile(r"A worked example(?:, whose Spec provides ([\w`, -]+))?::\n(.*)", re.DOTALL)
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class WorkedExample:
    """The component in the docstring of a kind's protocol. Tests hold each to the kind's laws."""

    code: str
    component: str
    """The name of its class, the first in the code."""
    provides: frozenset[str]
    """Abilities that its Spec provides."""


def worked_example(kind: str) -> WorkedExample:
    """The worked example of a kind, as `addkit/plugin/protocols.py` gives it."""
    match = _EXAMPLE.search(inspect.getdoc(protocol_of(kind)[0]) or "")
    assert match is not None, f"the protocol of {kind} has no worked example"
    code = textwrap.dedent(match[2]).strip() + "\n"
    component = re.search(r"^class (\w+)", code, re.MULTILINE)
    assert component is not None
    return WorkedExample(code, component[1], frozenset(re.findall("`(.+?)`", match[1] or "")))


def package_files(name: str, kind: str, folder: Path) -> dict[Path, str]:
    """The files of a package that provides the component or command `name`, with their texts.
    Raises `UsageError` if the name cannot be used, or the folder is not empty.

    Args:
        name: of the package and of what it provides: lower case, digits and hyphens.
        kind: one of `KINDS`, or "command".
        folder: new, or empty.
    """
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name):
        # MyConditioner_2 -> my-conditioner-2
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name)
        tidy = re.sub(r"[^a-z0-9]+", "-", spaced.lower()).strip("-0123456789")
        hint = f' (did you mean "{tidy}"?)' if _NAME.fullmatch(tidy) else ""
        raise UsageError(
            f'"{name}" cannot be a name: lower case, digits and single hyphens, a letter first'
            f"{hint}."
        )
    # A package named like an installed module would hide it, or be hidden by it.
    if keyword.iskeyword(module) or importlib.util.find_spec(module) is not None:
        raise UsageError(
            f'"{name}" cannot be a name: Python has a module "{module}" already; '
            f'take "{name}-{kind.replace("_", "-")}", or another.'
        )
    if (kind, name) in load_registry().components:
        provider = load_registry().get(kind, name).provider
        raise UsageError(f'there is a {kind} "{name}" already, of {provider}; take another name.')
    # All checks come before the first file, so that an error leaves nothing behind. Nothing of the
    # user's is overwritten.
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already; nothing is overwritten. Use --directory.")
    words = {
        "name": name,
        "kind": kind,
        "module": module,
        "version": __version__,
        "api": str(API_VERSION),
    }
    files = COMMAND_FILES
    if kind != "command":
        files, words = COMPONENT_FILES, words | _component_words(name, kind)
    texts = {}
    # string.Template and not str.format: Python code in the templates is full of braces.
    for source, pattern in files.items():
        text = Template((TEMPLATES / f"{source}.template").read_text("utf-8")).substitute(words)
        texts[folder / pattern.format(**words)] = text.rstrip() + "\n"
    return texts


def _component_words(name: str, kind: str) -> dict[str, str]:
    """Substitutions in the templates of a component: the worked example under the new name."""
    example = worked_example(kind)
    class_name = "".join(word.capitalize() for word in name.split("-"))
    code = re.sub(rf"\b{example.component}\b", class_name, example.code)
    # Docstrings have one empty line between classes, modules two.
    code = code.replace("\n\nclass ", "\n\n\nclass ")
    imports = "import torch\n" if re.search(r"\btorch\.", code) else ""
    imports += "from torch import nn\n" if re.search(r"\bnn\.", code) else ""
    gap = "" if not imports else "\n\n" if code.startswith("class ") else "\n"
    return {
        "Class": class_name,
        "Spec": next(spec.__name__ for spec in KINDS if spec.kind == kind),
        # Double quotes, as ruff formats it: the new package passes its own checks.
        "provides": f"{{{', '.join(map(repr, example.provides))}}}".replace("'", '"'),
        "code": f"{imports}{gap}{code}",
        "base": BASES.get(kind, "digits"),
        "tables": TABLES.get(kind, ""),
    }
