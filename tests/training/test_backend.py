"""How a network is computed changes nothing of what it computes."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from addkit.errors import AddkitWarning

COMPILED = "distributed.compile=true"


@pytest.fixture(autouse=True)
def undone() -> Any:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # The tracer looks at it.
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
def test_a_compiled_network_learns_the_same(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced by the compiler's front end; its back end takes minutes, and is PyTorch's."""
    calls: list[Any] = []

    def trace(graph: Any, inputs: Any) -> Any:
        calls.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=trace))
    plain = lab.fit(lab.open("plain"), stop_after=3)
    compiled = lab.fit(lab.open("compiled", COMPILED), stop_after=3)
    assert len(calls) >= 2  # The encoder and the denoiser.
    assert [r.loss for r in compiled.reports] == pytest.approx(
        [r.loss for r in plain.reports], rel=1e-4
    )


def test_what_cannot_be_compiled_runs_as_it_is(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Any) -> Any:
        def call(*words: Any, **more: Any) -> Any:
            raise RuntimeError("no compiler here\nand more of it")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.warns(AddkitWarning) as caught:
        fallen = lab.fit(lab.open("fallen", COMPILED), stop_after=2)
    assert len(caught) == 2
    message = str(caught[0].message)
    assert "RuntimeError: no compiler here" in message
    assert "distributed.compile = false" in message
    plain = lab.fit(lab.open("plain"), stop_after=2)
    assert [r.loss for r in fallen.reports] == [r.loss for r in plain.reports]


def test_deterministic_is_of_one_training(lab: Any) -> None:
    lab.open("one", "distributed.deterministic=true")
    assert torch.are_deterministic_algorithms_enabled()
    lab.open("other")
    assert not torch.are_deterministic_algorithms_enabled()
