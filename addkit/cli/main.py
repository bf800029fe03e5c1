"""The `addkit` command: its sub-commands, and the conversion of errors to text and exit codes."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from typing import Annotated, TextIO

import typer

from addkit.cli.commands import convert_only_given_values
from addkit.cli.completion import join_bash_words
from addkit.cli.output import fail, finish, note, prepare, set_quiet, spinning, warn
from addkit.cli.plugin_commands import NoPlugin, NoPlugins, PluginFile, RootGroup, plugins_first
from addkit.distributed.signals import StopSignals
from addkit.errors import AddkitWarning, file_being_read
from addkit.version import __version__

EXAMPLES = """Diffusion models whose variable is a one-hot label.

\b
  addkit train digits                    train on data that comes with addkit
  addkit sample --steps 20 image.jpg     classify images with the newest run
  addkit evaluate --steps 1,5,20         score it, and audit what its loop does
  addkit ablate --loss mse               change one choice and separate its effect from noise
  addkit report                          one page of tables and figures of the newest run
  addkit serve                           answer over HTTP, with a page to try the newest run
  addkit schedule show --classes 1000    information in a noisy label over time

\b
  addkit recipes list                    experiments to begin from
  addkit runs list                       trained models and their scores
  addkit plugins list                    every component that a recipe can name
  addkit env                             facts for a bug report
"""

app = typer.Typer(
    cls=RootGroup,
    help=EXAMPLES,
    rich_markup_mode=None,  # Importing rich's panels would double the time of --help.
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

QUIET = ("--quiet", "-q")
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
"""Errors of the machine's disk, never of addkit's code."""
REPAIR = "free some space or make it writable, then repeat the command"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"addkit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option(*QUIET, help="Nothing on stderr but errors. Goes with every command.")
    ] = False,
    no_plugins: NoPlugins = False,
    no_plugin: NoPlugin = None,
    plugin_file: PluginFile = None,
) -> None:
    """Options of every command."""
    set_quiet(quiet)


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 failed, 2 usage or recipe; 129, 130 and 143: stopped by a signal.
    """
    _start_in_utf8_mode()
    # Before anything else: imports of commands may warn.
    warnings.showwarning = _WarningPrinter()
    prepare()
    convert_only_given_values()
    words = sys.argv[1:]
    # Everything behind `--` is an argument, whatever it looks like.
    end = words.index("--") if "--" in words else len(words)
    sys.argv[1:] = plugins_first(_quiet_first(words))
    try:
        for word in words[:end]:
            from addkit.renamed import OPTIONS

            if (option := word.partition("=")[0]) in OPTIONS:
                from addkit.errors import UsageError
                from addkit.renamed import renamed_to

                raise UsageError(f"no such option: {option}{renamed_to(OPTIONS[option])}.")
        with StopSignals(), join_bash_words(), spinning(words):
            app(prog_name="addkit")
    except KeyboardInterrupt:
        sys.exit(fail("interrupted", 130))
    except Exception as error:
        if os.environ.get("ADDKIT_DEBUG") == "1":
            raise
        sys.exit(_explain(error))
    finally:
        finish()


def _start_in_utf8_mode() -> None:
    """Start this process again where Python took names of files for ASCII, such as under LC_ALL=C.

    What is printed stays in the encoding that the locale or PYTHONIOENCODING has.
    """
    utf8 = sys.getfilesystemencoding().lower() == "utf-8" or os.environ.get("PYTHONUTF8") == "1"
    if os.name == "posix" and not utf8:
        os.environ["PYTHONUTF8"] = "1"
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _quiet_first(words: list[str]) -> list[str]:
    """Move `--quiet` to the front, where it is the root's option; users may give it anywhere."""
    end = words.index("--") if "--" in words else len(words)
    rest = [word for index, word in enumerate(words) if index > end or word not in QUIET]
    return rest if len(rest) == len(words) else ["--quiet", *rest]


class _WarningPrinter:
    """Prints each warning as one line, once, without its line of code."""

    def __init__(self) -> None:
        # Not Python's own filter, which goes by the line of code: a control reads the data that ADD
        # has read, and warns of them from the same line with the same or another text.
        self.warned: set[str] = set()

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = str(message)
        # A library's warning of what it reads lacks the file's name.
        if (name := file_being_read()) and not issubclass(category, AddkitWarning):
            text = f"{name}: {text}"
        # Deprecations of libraries are not the user's to mend.
        if issubclass(category, UserWarning) and text not in self.warned:
            self.warned.add(text)
            warn(text)


def _explain(error: Exception) -> int:
    """Print an error; return the exit code."""
    from addkit.errors import AddkitError, PluginError, Stopped

    if isinstance(error, Stopped):
        if str(error):
            note(str(error))
        return error.exit_code
    if isinstance(error, PluginError) and error.checkable:
        return fail(f"{error}; `addkit plugins check` tests it alone", error.exit_code)
    if isinstance(error, AddkitError):
        return fail(str(error), error.exit_code)
    if isinstance(error, OSError) and error.errno in DISK:
        # Of a file of a library's, or of stdout, which has no name.
        return fail(f"{error.filename or 'the output'}: {error.strerror}; {REPAIR}", 1)
    if isinstance(error, OSError) and error.strerror:
        # The machine's reason: a name that is too long, a full disk, a folder without permission.
        where = next((str(name) for name in (error.filename, error.filename2) if name), "")
        return fail(f"{where}: {error.strerror}" if where else error.strerror, 1)
    if isinstance(error, UnicodeError):
        return fail(f"{error}: a name or a file is no UTF-8; rename or convert it", 2)
    # torch has an error of its own for GPUs alone, and one is recognised without importing torch.
    is_torchs = "OutOfMemory" in type(error).__name__ or "can't allocate memory" in str(error)
    if is_torchs or isinstance(error, MemoryError):
        return fail(
            "this machine's memory is too small for it; a smaller training.batch_size, "
            "distributed.per_process_batch or sampling.batch_size takes less",
            1,
        )
    if isinstance(error, RecursionError):
        return fail("a file or value is nested too deeply", 2)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    from addkit.plugin.contract import place_of
    from addkit.plugin.registry import loaded_third_parties

    # An unexpected error may be a plugin's, if any was loaded.
    guests = ", ".join(loaded_third_parties())
    place = place_of(error) if guests else ""
    others = f" or a plugin's ({guests}; try `addkit plugins check`)" if guests else ""
    fault = f"This is a fault of addkit's{others}; ADDKIT_DEBUG=1 shows where."
    return fail(f"{text}{place}\n{fault}", 1)
