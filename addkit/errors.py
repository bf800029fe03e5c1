"""Every error that a user can cause: the command line prints its text and exits with its code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class AddkitError(Exception):
    """Base: the run failed. The text says what, where, what is allowed and what to do."""

    exit_code = 1


class AddkitWarning(UserWarning):
    """Printed as one line; the command continues."""


# By thread: files are decoded by several at once, which `warnings.catch_warnings` cannot do.
FILE_BEING_READ: ContextVar[str] = ContextVar("file", default="")
"""Its name goes into a library's warnings; set by `reading`."""


@contextmanager
def reading(file: object) -> Iterator[None]:
    """While a library reads this file: its warnings are printed with the file's name."""
    token = FILE_BEING_READ.set(str(file))
    try:
        yield
    finally:
        FILE_BEING_READ.reset(token)


def file_being_read() -> str:
    """The file of the innermost `reading` in this thread; empty outside of one."""
    return FILE_BEING_READ.get()


class UsageError(AddkitError):
    """Invalid command-line arguments."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe or an override cannot be used."""


class PluginError(UsageError):
    """A plugin is missing, broken or clashes with another.

    Args:
        text: what went wrong.
        checkable: True if a test of the plugin's component by itself would show it.
    """

    def __init__(self, text: str, *, checkable: bool = False) -> None:
        super().__init__(text)
        self.checkable = checkable


class DataError(AddkitError):
    """Images or labels are missing or cannot be read."""


class RunError(AddkitError):
    """A run folder or checkpoint is missing, broken or does not fit."""


class Stopped(AddkitError):  # noqa: N818 - nothing went wrong
    """A signal stopped the command after everything was saved."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def require_type(argument: str, value: object, *types: type) -> None:
    """Raise `UsageError`, which names the argument of a function, if `value` is of no such type."""
    if not isinstance(value, types):
        names = " or ".join(each.__name__ for each in types)
        found = repr(value) if len(repr(value)) <= 60 else type(value).__name__
        raise UsageError(f"{argument} must be a {names}, found {found}")


ONLY_TENSORS = (
    "it is broken or has more than tensors (a whole model, or TorchScript as in OpenAI's own "
    "files), and nothing else is unpickled; save the model's state_dict as .safetensors"
)
"""In place of an error of torch that advises to unpickle whatever lies in a file."""


def guess(word: str, choices: Iterable[str]) -> str:
    """` (did you mean "x"?)` for the nearest choice, case aside; empty if none is near."""
    import difflib

    by_lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f' (did you mean "{by_lower[near[0]]}"?)' if near else ""
