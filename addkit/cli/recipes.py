"""`addkit recipes`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addkit.cli.completion import complete_recipe, complete_recipe_or_run
from addkit.cli.options import JsonOption, SetOption

if TYPE_CHECKING:
    from addkit.recipe.errors import Fault


recipes = typer.Typer(
    help="Find, read, check and compare recipes.", rich_markup_mode=None, no_args_is_help=True
)


@recipes.callback()
def root() -> None:
    """Find, read, check and compare recipes."""


@recipes.command("list")
def list_recipes(json: JsonOption = False) -> None:
    """List the recipes that come with addkit, and those below ./recipes.

    addkit recipes list
    """
    from addkit.cli.output import Output
    from addkit.recipe.files import known_recipes

    rows = [_entry(name, path) for name, path in known_recipes().items()]
    output = Output(json=json)
    if json:
        output.data(rows)
        return
    output.table(
        ["recipe", "task", "data", "summary"],
        [[row["name"], row["task"], row["data"], row["error"] or row["summary"]] for row in rows],
        words=4,
    )
    output.hint("addkit recipes show NAME, or addkit train NAME")


def _entry(name: str, path: Path) -> dict[str, Any]:
    from addkit.errors import RecipeError
    from addkit.recipe.files import load_file, shipped, shown

    found = {"name": name, "summary": "", "task": "", "data": "", "file": shown(path)}
    try:
        tables = load_file(path).tables
    except RecipeError as error:
        return {**found, "shipped": path == shipped(name), "error": str(error)}
    names = {kind: _component(tables.get(kind)) for kind in ("task", "data")}
    summary = str(tables.get("summary", ""))
    return {**found, **names, "summary": summary, "shipped": path == shipped(name), "error": None}


def _component(table: object) -> str:
    return str(table.get("name", "")) if isinstance(table, dict) else ""


@recipes.command()
def show(
    recipe: Annotated[
        str,
        typer.Argument(help="A recipe's name, or its file.", autocompletion=complete_recipe),
    ],
    set_: SetOption = None,
    resolved: Annotated[
        bool,
        typer.Option(
            "--resolved", help="One recipe with every default written out; implied by --set."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Print a recipe's file and each file that it extends, or the whole that follows from them.

    addkit recipes show digits --resolved --set training.epochs=5
    """
    if resolved or set_:
        _show_resolved(recipe, set_ or [], json)
    else:
        _show_source(recipe, json)


def _show_resolved(recipe: str, changes: list[str], json: bool) -> None:
    from addkit.cli.output import Output
    from addkit.recipe import dump_recipe, read_recipe

    read = read_recipe(Path(recipe), changes)
    if json:
        Output(json=True).data(read.tables())
    else:
        Output().text(dump_recipe(read))


def _show_source(recipe: str, json: bool) -> None:
    from addkit.cli.output import Output
    from addkit.recipe.files import load_file, named, shown

    files = load_file(named(recipe)).files
    sources = [(shown(file), file.read_text("utf-8-sig")) for file in files]
    if json:
        texts = [{"file": file, "text": text} for file, text in sources]
        Output(json=True).data({"recipe": files[0].stem, "files": texts})
        return
    output = Output()
    for number, (file, text) in enumerate(sources):
        head = f"# {file}" if number == 0 else f"\n# extends {file}"
        output.text(f"{head}\n\n{text.rstrip()}\n")
    output.hint(f"addkit recipes show {recipe} --resolved")


@recipes.command()
def check(
    files: Annotated[
        list[str],
        typer.Argument(help="Recipes by name or file.", autocompletion=complete_recipe),
    ],
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Tell everything that is wrong with recipes. Exit code 2 if anything is.

    \b
    addkit recipes check recipes/*.toml
    addkit recipes check digits --set training.epochs=5
    """
    from addkit.cli.output import Output

    found = {file: _faults(file, set_ or []) for file in files}
    output = Output(json=json)
    if json:
        output.data([_checked(file, faults) for file, faults in found.items()])
    else:
        for file, faults in found.items():
            for fault in faults:
                output.line(str(fault))
            if not faults:
                output.line(f"{file}: sound")
    if any(found.values()):
        raise typer.Exit(2)


def _faults(file: str, changes: list[str]) -> list[Fault]:
    from addkit.recipe import read_recipe
    from addkit.recipe.errors import FaultyRecipeError

    try:
        read_recipe(Path(file), changes)
    except FaultyRecipeError as error:
        return list(error.faults)
    return []


def _checked(file: str, faults: list[Fault]) -> dict[str, Any]:
    problems = [
        {
            "file": fault.origin.place,
            "line": fault.origin.line or None,
            "key": fault.key,
            "text": fault.text,
            "found": fault.found,
            "allowed": fault.allowed,
            "guess": fault.guess,
        }
        for fault in faults
    ]
    return {"recipe": file, "sound": not faults, "problems": problems}


@recipes.command()
def diff(
    left: Annotated[
        str,
        typer.Argument(
            help="A recipe's name or file, or a run.", autocompletion=complete_recipe_or_run
        ),
    ],
    right: Annotated[
        str,
        typer.Argument(help="What to compare it with.", autocompletion=complete_recipe_or_run),
    ],
    json: JsonOption = False,
) -> None:
    """Tell the keys in which two recipes, or the recipes of two runs, differ.

    addkit recipes diff fashion-mnist fashion-mnist-paper
    """
    from addkit.cli.output import Output
    from addkit.recipe.differences import differences

    found = differences([_tables(left), _tables(right)])
    if json:
        rows = [{"key": d.key, "left": d.values[0], "right": d.values[1]} for d in found]
        Output(json=True).data({"left": left, "right": right, "differences": rows})
        return
    if not found:
        Output().line("the same experiment")
        return
    Output().table(["key", left, right], [difference.cells() for difference in found], words=3)


def _tables(word: str) -> dict[str, Any]:
    """The resolved tables; of a run as they are stored, so that old runs can be compared too."""
    from addkit.cli.run_arguments import run_named
    from addkit.recipe import read_recipe
    from addkit.runs import Run

    run = run_named(Path(word))
    return read_recipe(Path(word)).tables() if run is None else Run.open(run).recipe_tables()
