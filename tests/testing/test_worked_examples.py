"""The examples in the docstrings of the protocols are components that keep every law."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch

from addkit.plugin import KINDS, Config, Problem, Registry, hookimpl, protocols
from addkit.plugin.spec import Spec
from addkit.testing import check

EXAMPLE = re.compile(r"A worked example(?:, whose Spec provides `([\w-]+)`)?::\n(.*)", re.DOTALL)


def _example(kind: type[Spec[Any, Any]]) -> tuple[str, type[Any], frozenset[str]]:
    """The code, its first class, which is the component, and the abilities of its Spec."""
    built = get_args(kind.__dict__["__orig_bases__"][0])[1].__forward_arg__
    found = EXAMPLE.search(getattr(protocols, built.partition(" ")[0]).__doc__)
    assert found, f"{kind.kind} has no worked example"
    code = textwrap.dedent(found[2])
    names: dict[str, Any] = {"__name__": "example", "torch": torch, "nn": torch.nn}
    exec(code, names)
    first = re.search(r"^class (\w+)", code, re.MULTILINE)
    assert first
    return code, names[first[1]], frozenset(one for one in found.groups()[:1] if one)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_it_keeps_the_laws(kind: type[Spec[Any, Any]]) -> None:
    code, component, provides = _example(kind)

    def build(config: Config, problem: Problem) -> Any:
        takes = "problem" in inspect.signature(component).parameters
        return component(problem) if takes or kind.kind == "task" else component()

    spec = kind(name="mine", config=Config, build=build, summary="Mine.", provides=provides)

    @hookimpl
    def addkit_components() -> Iterable[Spec[Any, Any]]:
        return [spec]

    mine = Registry.of([("mine 1", SimpleNamespace(addkit_components=addkit_components))])
    verdict = check(kind.kind, "mine", mine)
    assert not verdict.broken, f"{code}\n{verdict.broken}"
    assert not verdict.skipped
    assert verdict.kept >= 4
    assert len(code.splitlines()) < 30
