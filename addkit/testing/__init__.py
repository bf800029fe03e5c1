"""The laws that every component keeps, for authors to hold their own to. (PYTEST_DONT_REWRITE)

As a pytest plugin, `pytest_plugins = ["addkit.testing"]` in the conftest.py of your tests,

    @pytest.mark.component("conditioner", "my-conditioner", settings={"width": 8})
    def test_conforms(law):
        law()

gives a test for each law of the kind; a failure says which law, and by how much. Without pytest:
`check("conditioner", "my-conditioner")`, or `addkit plugins check my-package`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from addkit.testing.checks import Trial, Verdict, check, check_package, laws_of, trials
from addkit.testing.small_problem import Bench, Example, LawBrokenError, SkippedError

if TYPE_CHECKING:
    import pytest

__all__ = [
    "Bench",
    "Example",
    "LawBrokenError",
    "SkippedError",
    "Trial",
    "Verdict",
    "check",
    "check_package",
    "laws_of",
    "pytest_configure",
    "pytest_generate_tests",
    "trials",
]

MARK = "component(kind, name, settings=..., facts=..., levels=...): the component that laws try."


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", MARK)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each law, where the test asks for `law` and is marked with its component."""
    if "law" not in metafunc.fixturenames:
        return
    found = [
        trial
        for mark in metafunc.definition.iter_markers("component")
        for trial in trials(*mark.args, **mark.kwargs)
    ]
    metafunc.parametrize("law", found, ids=_name)


def _name(trial: Trial) -> str:
    return f"{trial.bench.provided.spec.name}-{trial.name}"
