"""Ablations whose trainings run in this process."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from addkit.ablation.worker import Task, work
from addkit.errors import AddkitError
from addkit.recipe import Recipe, read_recipe

ROOT = Path(__file__).parents[2]


class Recorded:
    """Records the callbacks of an ablation."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.failed: dict[str, str] = {}
        self.begun_at_ends: list[int] = []
        """How many had begun when one ended."""

    def begin(self, name: str) -> None:
        self.begun.append(name)

    def step(self, name: str, step: int, steps: int) -> None: ...

    def end(self, name: str, error: str | None) -> None:
        self.begun_at_ends.append(len(self.begun))
        if error is not None:
            self.failed[name] = error


def in_process(tasks: Mapping[str, Task], jobs: int, progress: Recorded) -> dict[str, str]:
    """As `addkit.ablation.worker.execute`, without workers."""
    errors = {}
    for name, task in tasks.items():
        progress.begin(name)
        try:
            work(task)
        except AddkitError as error:
            errors[name] = str(error)
        progress.end(name, errors.get(name))
    return errors


@pytest.fixture
def view() -> Recorded:
    return Recorded()


@pytest.fixture(scope="session")
def workers_here() -> Callable[[], AbstractContextManager[Recorded]]:
    """A context in which ablations train in this process; gives what records them."""

    @contextmanager
    def trained_here() -> Iterator[Recorded]:
        with pytest.MonkeyPatch.context() as patch:
            # By import, since the package exports the function under the module's name.
            patch.setattr(importlib.import_module("addkit.ablation.ablate"), "execute", in_process)
            yield Recorded()

    return trained_here


@pytest.fixture
def here(workers_here: Callable[[], AbstractContextManager[Recorded]]) -> Iterator[None]:
    """Trains in this process."""
    with workers_here():
        yield


@pytest.fixture(scope="session")
def small() -> Recipe:
    """The digits recipe, an epoch in a tenth of a second."""
    return read_recipe(
        ROOT / "recipes" / "digits.toml",
        ["encoder.widths=[8, 16]", "encoder.blocks=1", "denoiser.width=16", "training.epochs=1"],
    )
