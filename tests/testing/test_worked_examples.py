"""The examples in the docstrings of the protocols are components that keep every law."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from addkit.plugin import KINDS, Config, Registry, Spec, hookimpl
from addkit.plugin.new import worked_example
from addkit.testing import check


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_it_keeps_the_laws(kind: type[Spec[Any, Any]]) -> None:
    example = worked_example(kind.kind)
    names: dict[str, Any] = {"__name__": "example", "torch": torch, "nn": torch.nn}
    exec(example.code, names)
    spec = kind(
        name="mine",
        config=Config,
        build=names[example.component],
        summary="Mine.",
        provides=example.provides,
    )

    @hookimpl
    def addkit_components() -> Iterable[Spec[Any, Any]]:
        return [spec]

    mine = Registry.of([("mine 1", SimpleNamespace(addkit_components=addkit_components))])
    verdict = check(kind.kind, "mine", mine)
    assert not verdict.broken, f"{example.code}\n{verdict.broken}"
    assert not verdict.skipped
    assert verdict.kept >= 4
    assert len(example.code.splitlines()) < 30
