from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from addkit.diffusion import ObjectiveSettings, Targets, objective
from addkit.diffusion.model import completed
from addkit.plugin.values import Column

from .networks import CONDITION, generator, network

COLUMNS = (
    Column("age", "number"),
    Column("kind", "category", ("a", "b")),
    Column("said", "text"),
)


class Adds(nn.Module):
    """Adds a column to the tokens, and remembers what it was called with."""

    reads_side_inputs = True
    width, num_tokens = CONDITION, 2

    def forward(self, tokens: Tensor, side_inputs: Any) -> Tensor:
        self.seen = side_inputs
        return tokens + side_inputs["age"].nan_to_num()[:, None, None]


def _model() -> Any:
    return network(conditioner=Adds(), columns=COLUMNS)


def _tokens(images: int = 3) -> Tensor:
    return torch.randn(images, 2, CONDITION, generator=generator())


def test_what_is_not_given_is_missing() -> None:
    rows = completed({}, COLUMNS, 2, torch.device("cpu"))
    assert list(rows) == ["age", "kind", "said"]
    assert rows["age"].isnan().all()
    assert rows["kind"].tolist() == [-1, -1]
    assert rows["said"] == ("", "")


def test_what_is_given_stays_and_other_columns_are_left_out() -> None:
    given = {"kind": torch.tensor([1, 0]), "said": ("x", ""), "other": torch.zeros(2)}
    rows = completed(given, COLUMNS, 2, torch.device("cpu"))
    assert rows["kind"].tolist() == [1, 0]
    assert rows["said"] == ("x", "")
    assert "other" not in rows


def test_a_conditioner_that_reads_side_inputs_is_given_all_columns() -> None:
    model, tokens = _model(), _tokens()
    condition = model.condition(tokens, {"age": torch.tensor([1.0, 2.0, torch.nan])})
    assert model.reads_side_inputs
    added = condition - tokens
    torch.testing.assert_close(added[:, 0, 0], torch.tensor([1.0, 2.0, 0.0]))
    assert list(model.conditioner.seen) == ["age", "kind", "said"]
    torch.testing.assert_close(model.condition(tokens), tokens)


def test_other_conditioners_are_called_with_tokens_alone() -> None:
    model, tokens = network(), _tokens()
    assert not model.reads_side_inputs
    assert torch.equal(model.condition(tokens, {"age": torch.ones(3)}), model.condition(tokens))


@pytest.mark.parametrize("drop", [0.0, 0.999])
def test_the_objective_reads_side_inputs_unless_the_condition_is_dropped(drop: float) -> None:
    model, tokens = _model(), _tokens()
    targets = Targets(torch.tensor([[[0, 1, 2, 3]]] * 3))
    settings = ObjectiveSettings(condition_drop=drop)

    def loss(age: float) -> float:
        side_inputs = {"age": torch.full((3,), age)}
        return float(
            objective(model, tokens, targets, settings, generator(2), side_inputs).loss.detach()
        )

    assert (loss(0.0) == loss(5.0)) == (drop > 0)
