"""`addkit recipes`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addkit.cli.completion import complete_recipe, complete_recipe_or_run
from addkit.cli.options import JsonOption, SetOption
from addkit.terminal import addkit_command

if TYPE_CHECKING:
    from addkit.recipe.files import Layer


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
    from addkit.errors import RecipeError
    from addkit.recipe.files import known_recipes, load_file, shipped, shown

    rows = []
    # Bases are read once: most recipes extend one of a few.
    read: dict[Path, Layer] = {}
    for name, path in known_recipes().items():
        row: dict[str, Any] = {"name": name, "summary": "", "task": "", "data": ""}
        row |= {"file": shown(path), "shipped": path == shipped(name), "error": None}
        try:
            tables = load_file(path, read).tables
        except RecipeError as error:
            # A broken recipe is a row of its own, and hides no other.
            rows.append({**row, "error": str(error)})
            continue
        for kind in ("task", "data"):
            table = tables.get(kind)
            row[kind] = str(table.get("name", "")) if isinstance(table, dict) else ""
        rows.append({**row, "summary": str(tables.get("summary", ""))})
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


@recipes.command()
def show(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name, or its file.", autocompletion=complete_recipe)
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
    from addkit.cli.output import Output

    output = Output(json=json)
    if resolved or set_:
        from addkit.recipe import dump_recipe, read_recipe

        read = read_recipe(Path(recipe), set_ or [])
        if json:
            output.data(read.tables())
        else:
            output.text(dump_recipe(read))
        return
    # The sources alone need no pydantic and no plugin.
    from addkit.recipe.files import load_file, named, shown

    files = load_file(named(recipe)).files
    sources = [(shown(file), file.read_text("utf-8-sig")) for file in files]
    if json:
        texts = [{"file": file, "text": text} for file, text in sources]
        output.data({"recipe": files[0].stem, "files": texts})
        return
    for number, (file, text) in enumerate(sources):
        head = f"# {file}" if number == 0 else f"\n# extends {file}"
        output.text(f"{head}\n\n{text.rstrip()}\n")
    output.hint(addkit_command("recipes", "show", recipe, "--resolved"))


@recipes.command()
def check(
    files: Annotated[
        list[str], typer.Argument(help="Recipes by name or file.", autocompletion=complete_recipe)
    ],
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """List all errors of recipes. Exit code 2 if there is one.

    \b
    addkit recipes check recipes/*.toml
    addkit recipes check digits --set training.epochs=5
    """
    from addkit.cli.output import Output
    from addkit.recipe import read_recipe
    from addkit.recipe.errors import Fault, FaultyRecipeError

    faults: dict[str, tuple[Fault, ...]] = dict.fromkeys(files, ())
    # All files are checked, also after one with errors.
    for file in faults:
        try:
            read_recipe(Path(file), set_ or [])
        except FaultyRecipeError as error:
            faults[file] = error.faults
    output = Output(json=json)
    if json:
        results = [
            {"recipe": file, "sound": not own, "problems": [fault.data() for fault in own]}
            for file, own in faults.items()
        ]
        output.data(results)
    else:
        for file, own in faults.items():
            for fault in own:
                output.line(str(fault))
            if not own:
                output.line(f"{file}: sound")
    if any(faults.values()):
        raise typer.Exit(2)


@recipes.command()
def diff(
    left: Annotated[
        str,
        typer.Argument(
            help="A recipe's name or file, or a run.", autocompletion=complete_recipe_or_run
        ),
    ],
    right: Annotated[
        str, typer.Argument(help="What to compare it with.", autocompletion=complete_recipe_or_run)
    ],
    json: JsonOption = False,
) -> None:
    """List the keys in which two recipes, or the recipes of two runs, differ.

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
    """The resolved tables; a run's as they are stored, so that old runs can be compared too."""
    from addkit.cli.run_arguments import run_named
    from addkit.recipe import read_recipe
    from addkit.runs import Run

    run = run_named(Path(word))
    return read_recipe(Path(word)).tables() if run is None else Run.open(run).recipe_tables()
