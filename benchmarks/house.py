"""Count the code base: size, comments, private functions, untyped dicts, circles, hops, prose.

    python benchmarks/house.py                  counts of addkit/ and of the Markdown files
    python benchmarks/house.py --hops           also counts functions and files on three call paths
    python benchmarks/house.py --root FOLDER    counts another checkout

The rules are stated in docs/lab/house.md, with the results.
"""

from __future__ import annotations

import argparse
import ast
import io
import os
import re
import sys
import tempfile
import tokenize
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import FrameType

TEMPLATES = "templates"
"""Folder whose files are written into new plugins; it is no code of the package."""
LONGEST_PROSE = 120


def source_files(package: Path) -> list[Path]:
    return [
        p for p in sorted(package.rglob("*.py")) if TEMPLATES not in p.relative_to(package).parts
    ]


def count_source(package: Path) -> dict[str, float]:
    """Files, lines, comments, private functions named exactly once more, `dict[str, Any]`."""
    files = source_files(package)
    lines = comments = private = named_once = untyped = 0
    for path in files:
        text = path.read_text("utf-8")
        lines += text.count("\n")
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments += sum(token.type == tokenize.COMMENT for token in tokens)
        untyped += text.count("dict[str, Any]")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_private(node.name):
                private += 1
                # The definition and one use.
                named_once += len(re.findall(rf"\b{node.name}\b", text)) == 2
    return {
        "files": len(files),
        "lines": lines,
        "comment lines, %": 100 * comments / max(lines, 1),
        "private functions": private,
        "private functions named once more in their file, %": 100 * named_once / max(private, 1),
        "dict[str, Any]": untyped,
    }


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def circles(package: Path, in_functions: bool) -> list[list[str]]:
    """Groups of modules that import each other, under `TYPE_CHECKING` too."""
    modules = {_module(path, package): path for path in source_files(package)}
    graph = {
        name: set(_imports(name, path, modules, in_functions)) - {name}
        for name, path in modules.items()
    }
    return [group for group in _strong_components(graph) if len(group) > 1]


def _module(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _nodes(tree: ast.AST, in_functions: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        yield node
        if in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _nodes(node, in_functions)


def _imports(name: str, path: Path, modules: dict[str, Path], in_functions: bool) -> Iterator[str]:
    for node in _nodes(ast.parse(path.read_text("utf-8")), in_functions):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                kept = package[: len(package) - node.level + 1]
                base = ".".join([*kept, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from package import module` depends on the module alone.
                inner = f"{base}.{alias.name}"
                target = inner if inner in modules else base
                if target in modules:
                    yield target


def _strong_components(graph: dict[str, set[str]]) -> list[list[str]]:
    """Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            groups.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return groups


def long_prose(root: Path) -> int:
    """Markdown lines of over 120 characters that have more than one sentence."""
    pages = [*root.glob("*.md"), *root.glob("*/*.md"), *root.glob("docs/**/*.md")]
    pages += root.glob("plugins/*/*.md")
    count = 0
    for page in sorted(set(pages)):
        in_code = False
        for line in page.read_text("utf-8").splitlines():
            in_code ^= line.lstrip().startswith("```")
            long = len(line) > LONGEST_PROSE and not line.startswith("|")
            count += long and not in_code and re.search(r"[.;!?] [A-Z`*]", line) is not None
    return count


class Calls:
    """The package's own calls, as (file, function), while it is installed as a profiler."""

    def __init__(self, package: str = "addkit") -> None:
        self.package = f"{os.sep}{package}{os.sep}"
        self.made: list[tuple[str, str]] = []

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        # Comprehensions, lambdas and module bodies have names in angle brackets.
        own = self.package in code.co_filename and not code.co_name.startswith("<")
        if event == "call" and own:
            self.made.append((code.co_filename, code.co_qualname))

    def of(self, call: Callable[[], object]) -> list[tuple[str, str]]:
        """The calls of the second of two runs: imports and caches do not count."""
        call()
        self.made.clear()
        sys.setprofile(self)
        try:
            call()
        finally:
            sys.setprofile(None)
        return self.made


def summary(made: list[tuple[str, str]]) -> str:
    """Distinct functions, distinct files, and changes of file from one call to the next."""
    files = [file for file, _ in made]
    changes = sum(one != other for one, other in pairwise(files))
    return f"{len(set(made))} / {len(set(files))} / {changes}"


class StepCalls(Calls):
    """The calls of each optimizer step, from the reading of its batch to the step's return."""

    def __init__(self, read: str, step: str) -> None:
        super().__init__()
        self.read, self.end = read, step
        self.steps: list[list[tuple[str, str]]] = []

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if f"{os.sep}training{os.sep}" in code.co_filename:
            if event == "call" and code.co_qualname == self.read:
                self.made = []
            elif event == "return" and code.co_qualname == self.end:
                self.steps.append(self.made.copy())
        super().__call__(frame, event, argument)


def hops(read: str, step: str) -> dict[str, str]:
    """The three call paths of docs/lab/house.md."""
    import addkit
    from addkit.cli.main import main

    with tempfile.TemporaryDirectory() as folder:
        steps = StepCalls(read, step)
        arguments = ["train", "digits", "--run-dir", f"{folder}/run", "--quiet"]
        arguments += ["--set", "training.epochs=2", "--set", "control.heads=[]"]
        sys.argv = ["addkit", *arguments]
        sys.setprofile(steps)
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise
        finally:
            sys.setprofile(None)
        # The median is a step in the middle of an epoch.
        middle = sorted(steps.steps, key=len)[len(steps.steps) // 2]

        image = Path(folder, "image.png")
        _write_image(image)
        model = addkit.load(f"{folder}/run")
        predict = Calls().of(lambda: list(model.predict([image], steps=3, read_out="last")))
        checked = Calls().of(lambda: addkit.read_recipe(Path("digits"), ["loss.name=weighted-ce"]))
    return {
        "optimizer step of digits (functions / files / changes)": summary(middle),
        'predict(steps=3, read_out="last")': summary(predict),
        "read_recipe with loss.name": summary(checked),
    }


def _write_image(path: Path) -> None:
    from PIL import Image

    Image.new("L", (8, 8), 128).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--hops", action="store_true", help="train digits for two epochs")
    parser.add_argument(
        "--step",
        nargs=2,
        default=["Trainer.micro_batches", "Trainer.train_step"],
        metavar="NAME",
        help="functions of training/ with which a step begins and ends",
    )
    options = parser.parse_args()
    package = options.root / "addkit"
    counts: dict[str, object] = {
        name: round(value, 1) for name, value in count_source(package).items()
    }
    groups = circles(package, in_functions=False)
    counts["circles of imports (modules in each)"] = [len(group) for group in groups]
    lazy = circles(package, in_functions=True)
    counts["... imports inside functions included"] = [len(group) for group in lazy]
    counts["prose lines of several sentences"] = long_prose(options.root)
    if options.hops:
        sys.path.insert(0, str(options.root.resolve()))
        counts |= hops(*options.step)
    for name, value in counts.items():
        print(f"{name:60} {value}")
    for group in groups:
        print("  circle:", ", ".join(group))


if __name__ == "__main__":
    main()
