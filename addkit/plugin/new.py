"""Writing a package with one component, from the templates that come with addkit. No torch."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path
from string import Template

import addkit
from addkit.errors import UsageError
from addkit.plugin.registry import load_registry
from addkit.plugin.spec import API_VERSION

TEMPLATES = Path(addkit.__file__).parent / "templates" / "plugin"

FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "{kind}/__init__.py": "src/{module}/__init__.py",
    "{kind}/component.py": "src/{module}/component.py",
    "conftest.py": "tests/conftest.py",
    "test_plugin.py": "tests/test_{module}.py",
    "{kind}/recipe.toml": "recipes/{name}.toml",
}
"""Template -> where it goes."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_package(name: str, kind: str, folder: Path) -> list[Path]:
    """Write a package that provides the component `name` of this kind; gives its files.

    Args:
        name: of the package and of the component: lower case, digits and hyphens.
        kind: one of `KINDS`.
        folder: new, or empty.

    Raises:
        UsageError: the name cannot be used, or the folder holds something.
    """
    module = name.replace("-", "_")
    _check_name(name, kind, module)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already; nothing is overwritten. Use --directory.")
    words = {
        "name": name,
        "kind": kind,
        "module": module,
        "Class": "".join(word.capitalize() for word in name.split("-")),
        "version": addkit.__version__,
        "api": str(API_VERSION),
    }
    return [_write(words, source, folder / target) for source, target in _files(words)]


def _files(words: dict[str, str]) -> list[tuple[Path, str]]:
    return [
        (TEMPLATES / f"{source.format(**words)}.template", target.format(**words))
        for source, target in FILES.items()
    ]


def _write(words: dict[str, str], source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(Template(source.read_text("utf-8")).substitute(words), "utf-8")
    return target


def _check_name(name: str, kind: str, module: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f'"{name}" cannot be a name: lower case, digits and single hyphens, a letter first'
            f"{_better(name)}."
        )
    if keyword.iskeyword(module) or importlib.util.find_spec(module) is not None:
        raise UsageError(
            f'"{name}" cannot be a name: Python has a module "{module}" already; '
            f'take "{name}-{_hyphened(kind)}", or another.'
        )
    if (kind, name) in load_registry().components:
        provider = load_registry().get(kind, name).provider
        raise UsageError(f'there is a {kind} "{name}" already, of {provider}; take another name.')


def _better(name: str) -> str:
    """MyConditioner_2 -> my-conditioner-2."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name)
    tidy = re.sub(r"[^a-z0-9]+", "-", spaced.lower()).strip("-0123456789")
    return f' (did you mean "{tidy}"?)' if _NAME.fullmatch(tidy) else ""


def _hyphened(kind: str) -> str:
    return kind.replace("_", "-")
