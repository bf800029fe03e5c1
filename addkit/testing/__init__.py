"""Conformance tests for plugin authors: the laws of each kind. (PYTEST_DONT_REWRITE)

As a pytest plugin, `pytest_plugins = ["addkit.testing"]` in the conftest.py of your tests, ::

    @pytest.mark.component("conditioner", "my-conditioner", settings={"width": 8})
    def test_conforms(law):
        law()

gives a test for each law of the kind; a failure names the law and the deviation. Without pytest:
`check("conditioner", "my-conditioner")`, or `addkit plugins check my-package`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from addkit.testing.checks import Trial, Verdict, check, check_package, laws_of, trials
from addkit.testing.small_problem import Bench, Example, LawBrokenError, SkippedError

if TYPE_CHECKING:
    import pytest

__all__ = ["Bench", "Example", "LawBrokenError", "SkippedError", "Trial", "Verdict", "check"]
__all__ += ["check_package", "laws_of", "pytest_configure", "pytest_generate_tests", "trials"]

MARK = "component(kind, name, settings=..., facts=..., levels=...): the component to check."


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark, without which pytest --strict-markers refuses it."""
    config.addinivalue_line("markers", MARK)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each law, where the test asks for `law` and is marked with its component."""
    # Called for every test function of the session.
    if "law" not in metafunc.fixturenames:
        return
    laws = [
        trial
        for mark in metafunc.definition.iter_markers("component")
        for trial in trials(*mark.args, **mark.kwargs)
    ]
    # The component first: a test of several components then sorts by them.
    names = [f"{trial.bench.provided.spec.name}-{trial.name}" for trial in laws]
    metafunc.parametrize("law", laws, ids=names)
