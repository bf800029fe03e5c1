"""The conditioner reads numbers and categories, the missing ones too; its recipes can be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from addkit_metadata.conditioner import Metadata
from addkit_metadata.settings import MetadataConfig

from addkit import read_recipe
from addkit.errors import RecipeError
from addkit.model import build_data
from addkit.plugin import Problem
from addkit.plugin.values import Column

if TYPE_CHECKING:
    from addkit.testing import Trial

RECIPES = Path(__file__).parents[1] / "recipes"
COLUMNS = (Column("age", "number"), Column("kind", "category", ("a", "b")), Column("t", "text"))


@pytest.mark.component("conditioner", "metadata", facts={"columns": COLUMNS})
def test_the_conditioner_conforms(law: Trial) -> None:
    law()


@pytest.mark.component("data", "emoji-columns")
def test_the_emoji_conform(law: Trial) -> None:
    law()


@pytest.mark.parametrize("name", ["emoji-columns", "emoji-image-alone", "image-table"])
def test_recipes_can_be_read(name: str) -> None:
    assert read_recipe(RECIPES / f"{name}.toml").name == name


def _built(**settings: Any) -> Metadata:
    torch.manual_seed(0)
    problem = Problem(columns=COLUMNS, encoder_width=8, num_encoder_tokens=5, num_prefix_tokens=1)
    return Metadata(MetadataConfig(width=8, **settings), problem)


def _said(built: Metadata, age: float, kind: int) -> torch.Tensor:
    side_inputs = {"age": torch.full((2,), age), "kind": torch.full((2,), kind), "t": ("", "")}
    return built(torch.ones(2, 5, 8), side_inputs).detach()


def test_each_column_has_a_token_and_missing_has_its_own_value() -> None:
    built = _built()
    rows = [_said(built, age, kind) for age, kind in ((0.0, 0), (torch.nan, 0), (0.0, -1))]
    assert built.num_tokens == 3
    assert all(row.isfinite().all() for row in rows)
    plain, no_age, no_kind = rows
    assert torch.equal(plain[:, 0], no_age[:, 0])
    assert not torch.equal(plain[:, 1], no_age[:, 1])
    assert torch.equal(plain[:, 1], no_kind[:, 1])
    assert not torch.equal(plain[:, 2], no_kind[:, 2])


@pytest.mark.parametrize(("image", "tokens"), [("mean", 3), ("all", 7), ("none", 2)])
def test_the_image_may_be_one_token_or_all_or_none(image: str, tokens: int) -> None:
    assert _said(_built(image=image), 1.0, 1).shape == (2, tokens, 8)


def test_training_hides_columns_as_if_they_were_missing() -> None:
    built = _built(dropout=0.999).train()
    assert torch.equal(_said(built, 3.0, 1), _said(built, torch.nan, -1))
    assert not torch.equal(_said(built.eval(), 3.0, 1), _said(built, torch.nan, -1))


def test_gradients_are_finite_where_a_number_is_missing() -> None:
    built = _built()
    side_inputs = {"age": torch.tensor([torch.nan, 1.0]), "kind": torch.tensor([-1, 0])}
    built(torch.ones(2, 5, 8), side_inputs).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in built.parameters())


def test_a_column_that_cannot_be_read_is_guessed() -> None:
    with pytest.raises(RecipeError, match=r'no number or category "agee" \(did you mean "age"\?\)'):
        _built(columns=("agee",))


def test_things_are_in_one_split_and_a_share_of_cells_is_missing() -> None:
    source = build_data(read_recipe(RECIPES / "emoji-columns.toml"))
    batch = source.split("test").batch(range(1000), None)
    assert batch.side_inputs is not None
    missing = float(batch.side_inputs["words"].isnan().float().mean())
    assert 0.25 < missing < 0.35
    assert 0.25 < float((batch.side_inputs["gender"] < 0).float().mean()) < 0.35
