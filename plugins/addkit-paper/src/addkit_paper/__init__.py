"""Two commands for addkit: a test of the paper's claims, and of results of theory."""

from __future__ import annotations

from collections.abc import Iterable

from addkit.plugin import CommandSpec, hookimpl

ADDKIT_API = 2
"""The version of addkit's plugin interface that this is written for."""


@hookimpl
def addkit_commands() -> Iterable[CommandSpec]:
    """Yield `addkit claims` and `addkit theory`."""
    yield CommandSpec(
        name="claims",
        help="Compare each claim of the paper with stored results, and write the page of verdicts.",
        command="addkit_paper.claims_command:claims",
    )
    yield CommandSpec(
        name="theory",
        help="Measure results of theory with the exact denoiser.",
        command="addkit_paper.theory_command:theory",
    )
