"""What `addkit train RECIPE --find-lr` prints and draws."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from addkit.cli.output import Output, note
from addkit.data.overview import check_data
from addkit.model import build_data
from addkit.planning.batch_size import with_batch_size
from addkit.recipe import Recipe
from addkit.report.figures.curves import draw_range_test
from addkit.report.figures.style import write_figure
from addkit.terminal import addkit_command
from addkit.training.checks import check_budget, check_training
from addkit.training.find_lr import STEPS, RangeTest, find_lr
from addkit.training.plan import Plan

ROWS, BAR = 14, 30


def print_range_test(recipe: Recipe, *, json: bool) -> None:
    """Run the test in this process; print a suggestion and a curve, and write a plot of it."""
    source = build_data(recipe)
    check_training(recipe, source.facts)
    check_data(source)
    recipe = with_batch_size(recipe, source.facts)
    check_budget(recipe, source.facts, Plan.of(recipe, source.facts.split_sizes["train"]))
    note(f"{STEPS} steps at a rising learning rate; nothing of them stays")

    def step(number: int, steps: int) -> None:
        if number % (steps // 5) == 0:
            note(f"step {number}/{steps}")

    test = find_lr(recipe, step=step)
    names = ("", *(f"-{number}" for number in range(2, 1000)))
    files = (Path(f"learning-rates-{recipe.name}{name}.png") for name in names)
    file = next(file for file in files if not file.exists())
    lr, loss = zip(*((point.lr, point.loss) for point in test.points), strict=True)
    write_figure(draw_range_test(lr, loss, test.suggestion), file)
    output = Output(json=json)
    if json:
        data = {"suggestion": test.suggestion, "base_lr": test.base_lr, "plot": str(file)}
        output.data({**data, "lowest": asdict(test.lowest), **asdict(test)})
        return
    output.table(["learning rate", "loss", ""], _rows(test))
    output.line()
    end = "the loss diverged" if test.diverged else "the loss did not diverge"
    output.line(f"lowest loss at {test.lowest.lr:.1e}; {end}")
    output.line(f"suggested peak: {test.suggestion:.1e}, a tenth of that; plot: {file}")
    key = "lr" if recipe.training.lr is not None else "base_lr"
    value = test.suggestion if key == "lr" else test.base_lr
    output.hint(addkit_command("train", recipe.name, "--set", f"training.{key}={value:.1e}"))


def _rows(test: RangeTest) -> list[tuple[str, str, str]]:
    """Points evenly spaced over the steps, each with a bar as long as its loss."""
    last = len(test.points) - 1
    chosen = [test.points[round(i * last / (ROWS - 1))] for i in range(min(ROWS, last + 1))]
    most = max(point.loss for point in chosen)
    return [
        (f"{point.lr:.1e}", f"{point.loss:.3f}", ("#" * round(BAR * point.loss / most)).ljust(BAR))
        for point in chosen
    ]
