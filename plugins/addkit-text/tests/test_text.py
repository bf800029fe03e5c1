"""The conditioner reads sentences; tables hold them; recipes can be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from addkit_text.conditioner import Text
from addkit_text.settings import TableTextConfig, TextConfig
from addkit_text.table import TableText
from PIL import Image

from addkit import read_recipe
from addkit.data.settings import DataWarning
from addkit.errors import DataError, RecipeError
from addkit.plugin import Problem
from addkit.plugin.values import Column

if TYPE_CHECKING:
    from addkit.testing import Trial

RECIPES = Path(__file__).parents[1] / "recipes"
COLUMNS = (Column("age", "number"), Column("said", "text"))


@pytest.mark.component(
    "conditioner", "text", settings={"width": 16, "depth": 1}, facts={"columns": COLUMNS}
)
def test_the_conditioner_conforms(law: Trial) -> None:
    law()


@pytest.mark.component("data", "emoji-sentences")
def test_the_emoji_conform(law: Trial) -> None:
    law()


@pytest.mark.parametrize("name", ["emoji-sentences", "emoji-image-alone", "table-text"])
def test_recipes_can_be_read(name: str) -> None:
    assert read_recipe(RECIPES / f"{name}.toml").name == name


def _built(**settings: Any) -> Text:
    torch.manual_seed(0)
    problem = Problem(columns=COLUMNS, encoder_width=8, num_encoder_tokens=5)
    return Text(TextConfig(**{"width": 8, "heads": 2, "depth": 1, **settings}), problem)


def _said(built: Text, *sentences: str) -> torch.Tensor:
    return built(torch.ones(len(sentences), 5, 8), {"said": sentences}).detach()


def test_a_sentence_is_a_token_and_a_missing_one_has_its_own_value() -> None:
    built = _built().eval()
    condition = _said(built, "a red cat", "A red  cat", "a dog", "")
    assert condition.shape == (4, 2, 8)
    assert torch.equal(condition[0], condition[1])
    assert not torch.equal(condition[0, 1], condition[2, 1])
    assert torch.equal(condition[3, 1], built.missing)


@pytest.mark.parametrize(("image", "tokens"), [("mean", 2), ("all", 6), ("none", 1)])
def test_the_image_may_be_one_token_or_all_or_none(image: str, tokens: int) -> None:
    assert _said(_built(image=image), "x").shape == (1, tokens, 8)


def test_training_hides_sentences() -> None:
    built = _built(dropout=0.999).train()
    assert torch.equal(_said(built, "a cat"), _said(built, ""))
    assert not torch.equal(_said(built.eval(), "a cat"), _said(built, ""))


def test_a_frozen_tower_keeps_its_weights() -> None:
    built = _built(frozen=True).train()
    built(torch.ones(1, 5, 8), {"said": ("a cat",)}).sum().backward()
    assert not built.tower.training
    assert all(p.grad is None for p in built.tower.parameters())
    assert built.sentence[1].weight.grad is not None


def test_a_column_or_a_model_that_is_not_there_is_guessed() -> None:
    with pytest.raises(RecipeError, match=r'no text column "sad" \(did you mean "said"\?\)'):
        _built(column="sad")
    with pytest.raises(RecipeError, match=r'open_clip has no model "ViT-B-33" \(did you mean'):
        _built(model="ViT-B-33")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"pretrained": True}, "name the model"),
        ({"model": "ViT-B-32", "pretrained": True}, "pretrained needs a tag"),
        ({"width": 10, "heads": 4}, "no multiple of heads"),
    ],
)
def test_weights_belong_to_a_model(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        TextConfig(**settings)


def test_a_trained_run_needs_no_first_weights() -> None:
    config = TextConfig(model="ViT-B-32.x", pretrained=True).from_scratch()
    assert (config.pretrained, config.model) == (False, "ViT-B-32.x")


def _table(folder: Path, rows: list[str], **more: Any) -> TableText:
    (folder / "t.csv").write_text("\n".join(["image,text,label", *rows]) + "\n")
    return TableText(TableTextConfig(file=folder / "t.csv", image_size=8, **more))


def test_names_and_separators_of_other_programs(tmp_path: Path) -> None:
    for n in range(4):
        Image.new("RGB", (8, 8), (40 * n, 0, 0)).save(tmp_path / f"{n}.png")
    (tmp_path / "t.csv").write_text(
        "image;text;label\n" + "\n".join(f".\\{n}.PNG;says, {n};{'ab'[n % 2]}" for n in range(4))
    )
    with pytest.warns(DataWarning, match=r"4 of 4 .*backslashes, case"):
        images = TableText(TableTextConfig(file=tmp_path / "t.csv", image_size=8)).split("train")
    assert Path(images.source(0)).parent == tmp_path
    (tmp_path / "3.png").unlink()
    with (
        pytest.warns(DataWarning, match="3 of 4"),
        pytest.raises(DataError, match=r"t\.csv:5: .*3\.PNG is no file"),
    ):
        TableText(TableTextConfig(file=tmp_path / "t.csv", image_size=8))


def test_tables_hold_sentences_with_and_without_images(tmp_path: Path) -> None:
    for n in range(6):
        Image.new("RGB", (8, 8), (40 * n, 0, 0)).save(tmp_path / f"{n}.png")
    rows = [f"{n}.png,says {n},{'ab'[n % 2]}" for n in range(6)]
    for column in ("image", ""):
        images = _table(tmp_path, rows, image_column=column, test_share=0.4).split("train")
        batch = images.batch(range(len(images)), None)
        assert batch.images.shape == (len(images), 3, 8, 8)
        assert batch.side_inputs is not None
        numbers = [int(text.split()[1]) for text in batch.side_inputs["text"]]
        assert [n % 2 for n in numbers] == batch.labels[:, 0].tolist()
        assert (len(set(batch.images[:, 0, 0, 0].tolist())) == 1) == (column == "")


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (["1.png,x,"], r't\.csv:2: no label in column "label"'),
        (["1.png,x,a", "2.png,y,a"], "fewer than two labels"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, rows: list[str], text: str) -> None:
    with pytest.raises(DataError, match=text):
        _table(tmp_path, rows)
