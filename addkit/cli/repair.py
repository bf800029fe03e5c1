"""`addkit repair`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from addkit.cli.completion import complete_recipe, complete_run
from addkit.cli.options import JsonOption, SetOption, WeightsOption

CSV, PAGE = "suspicious.csv", "page.html"


def repair(
    table: Annotated[
        Path, typer.Argument(help="A CSV of images and attributes, as attribute-table.toml reads.")
    ],
    run: Annotated[
        str | None,
        typer.Option(
            help="A model of these attributes; one is trained for each fold if absent.",
            autocompletion=complete_run,
        ),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(help="Recipe of the folds' models.", autocompletion=complete_recipe),
    ] = "repair",
    folds: Annotated[
        int, typer.Option(min=2, max=100, help="Parts, each examined by a model of the others.")
    ] = 2,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder to write to; TABLE-repair here if absent."),
    ] = None,
    most: Annotated[
        int, typer.Option(min=1, max=100_000, help="Labels on the page, most suspicious first.")
    ] = 200,
    set_: SetOption = None,
    weights: WeightsOption = "ema",
    json: JsonOption = False,
) -> None:
    """Find recorded labels that are probably wrong, by the picture and the other labels.

    \b
    addkit repair photos.csv
    addkit repair photos.csv --run runs/NAME

    Writes suspicious.csv (every label, ranked) and page.html, on which suggestions are accepted or
    kept and a mended copy is downloaded. The table itself is never changed.
    """
    from addkit.cli.output import Output, note
    from addkit.cli.run_arguments import find_run
    from addkit.data.settings import AttributeTableConfig
    from addkit.distributed.signals import StopSignals
    from addkit.errors import UsageError
    from addkit.model import load
    from addkit.recipe import read_recipe
    from addkit.repair import (
        cross_fitted,
        examined,
        ranked,
        read_records,
        write_repair_page,
        write_suspicions,
    )
    from addkit.runs.disk import disk_errors

    folder = output or Path(f"{table.stem}-repair")
    for name in (CSV, PAGE):
        if (folder / name).exists():
            raise UsageError(f"{folder / name} exists; give another folder with --output")
    if run is not None:
        if set_:
            raise UsageError("--set changes the recipe of the folds, and --run has a model already")
        predictor = load(find_run(run), weights=weights)
        config = predictor.recipe.choices["data"].config
        if isinstance(config, AttributeTableConfig):
            config = config.model_copy(update={"file": table, "root": None})
        else:
            config = AttributeTableConfig.model_validate({"file": table})
        records = read_records(config, predictor.facts.token_names)
        suspicions = examined(predictor, records, records.rows)
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    else:
        chosen = read_recipe(Path(recipe), [f'data.file="{table}"', *(set_ or [])])
        config = chosen.choices["data"].config
        if not isinstance(config, AttributeTableConfig):
            raise UsageError(f"--recipe {recipe}: its data are no attribute table")
        records = read_records(config)
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with StopSignals("the same command resumes"):
            suspicions = cross_fitted(
                chosen,
                records,
                folder,
                folds,
                lambda fold: note(f"fold {fold} of {folds}: training on the other records"),
            )
    suspicions = ranked(suspicions)
    changed = [each for each in suspicions if each.suggested != each.recorded]
    write_suspicions(folder / CSV, suspicions)
    write_repair_page(folder / PAGE, records, changed[:most])
    out = Output(json=json)
    if json:
        out.data(
            {
                "examined": len(suspicions),
                "suspicious": len(changed),
                "csv": str(folder / CSV),
                "page": str(folder / PAGE),
            }
        )
        return
    rows = [
        [
            *(str(each.record.line), each.attribute, each.recorded, each.suggested),
            f"{100 * each.wrong:.1f}",
        ]
        for each in changed[:10]
    ]
    out.table(["row", "column", "recorded", "suggested", "wrong %"], rows, words=4)
    out.line()
    out.line(f"{len(changed)} of {len(suspicions)} labels have a more probable value")
    out.line(f"{folder / CSV}, {folder / PAGE}")
