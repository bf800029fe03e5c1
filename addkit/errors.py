"""Every error that a user can cause. The command line prints the text and exits with the code."""

from __future__ import annotations


class AddkitError(Exception):
    """Base: the run failed. The text says what, where, what is allowed and what to do."""

    exit_code = 1


class AddkitWarning(UserWarning):
    """Something that a user should know, and that stops nothing."""


class UsageError(AddkitError):
    """The command line's words are off."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe or an override cannot be used."""


class PluginError(UsageError):
    """A plugin is missing, broken or clashes with another."""


class DataError(AddkitError):
    """Images or labels are missing or cannot be read."""


class RunError(AddkitError):
    """A run folder or checkpoint is missing, broken or unfit."""


class Stopped(AddkitError):  # noqa: N818 - nothing went wrong
    """A signal asked to stop, and everything is saved."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code
