"""The `addkit` command: its sub-commands, and how errors become text and exit codes."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated, TextIO

import typer

from addkit import __version__
from addkit.cli.ablate import ablate
from addkit.cli.claims import claims
from addkit.cli.evaluate import evaluate
from addkit.cli.output import fail, warn
from addkit.cli.plot import plot
from addkit.cli.report import report
from addkit.cli.sample import sample
from addkit.cli.schedule import schedule
from addkit.cli.several import SeveralCommand
from addkit.cli.theory import theory
from addkit.cli.train import train

__all__ = ["app", "main"]

EXAMPLES = """Diffusion models whose variable is a one-hot label.

\b
  addkit train recipes/digits.toml       train on data that comes with addkit
  addkit sample --steps 20 image.jpg     classify images with the newest run
  addkit evaluate --steps 1,5,20         score it, and audit what its loop does
  addkit ablate --loss mse               change one choice and tell its effect from noise
  addkit report                          one page of tables and figures of the newest run
  addkit schedule show --classes 1000    how much a noisy label tells over time
  addkit theory                          what holds of every label diffusion, checked
"""

app = typer.Typer(
    help=EXAMPLES,
    rich_markup_mode=None,  # Importing rich's panels would double the time of --help.
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(train)
app.command()(sample)
app.command()(evaluate)
app.command(cls=SeveralCommand)(ablate)
app.command()(report)
app.command(cls=SeveralCommand)(claims)
app.command()(plot)
app.add_typer(schedule, name="schedule")
app.command()(theory)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"addkit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Options of every command."""


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 usage or recipe, 130 interrupted."""
    warnings.showwarning = _Teller()
    if os.environ.get("ADDKIT_DEBUG") == "1":
        app()
        return
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(fail("interrupted", 130))
    except Exception as error:
        sys.exit(_explain(error))


class _Teller:
    """Shows a warning as one line, once: a control reads the data that ADD has read.

    Where in the code it arose is of no use to a user.
    """

    def __init__(self) -> None:
        self.told: set[str] = set()

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, UserWarning) and str(message) not in self.told:
            self.told.add(str(message))
            warn(str(message))


def _explain(error: Exception) -> int:
    from addkit.errors import AddkitError

    if isinstance(error, AddkitError):
        return fail(str(error), error.exit_code)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return fail(f"{text}\nThis is a fault of addkit's; ADDKIT_DEBUG=1 shows where.", 1)
