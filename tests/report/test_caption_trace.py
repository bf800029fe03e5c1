from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from addkit.diffusion import ChainStep, Clean
from addkit.errors import UsageError
from addkit.report.trace import FREE, GIVEN, MOST_IMAGES, SETTLED, draw_caption_trace
from addkit.sampling import forced

WORDS = ("<pad>", "a", "red", "cat", "dog", "on", "mat")
PAD = 0
BLOCK = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def _steps(logits: Sequence[Tensor], ids: Sequence[Tensor] | None = None) -> list[ChainStep]:
    count = len(logits)
    return [
        ChainStep(
            index,
            1 - index / count,
            step,
            Clean(step.argmax(-1) if ids is None else ids[index]),
            torch.zeros(len(step), dtype=torch.bool),
        )
        for index, step in enumerate(logits)
    ]


def _logits(count: int, shape: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) * (1 + index) for index in range(count)]


def _sure(*rows: str) -> Tensor:
    """Logits of one chain of one image that say these words, nearly surely."""
    ids = torch.tensor([[[WORDS.index(word) for word in row.split()] for row in rows]])
    return torch.nn.functional.one_hot(ids, len(WORDS)).float() * 9


def _page(path: Path, steps: Sequence[ChainStep], names: Sequence[str] = (), **how: Any) -> str:
    images = len(steps[0].logits)
    names = names or [f"photos/{number}.png" for number in range(images)]
    pictures = how.pop("pictures", torch.rand(images, 3, 8, 8) * 1.2 - 0.1)
    options: dict[str, Any] = {"class_names": WORDS, "pad": PAD, **how}
    draw_caption_trace(path, steps, pictures, names, **options)
    return path.read_text("utf-8")


def _data(path: Path, steps: Sequence[ChainStep], **how: Any) -> dict[str, Any]:
    found = BLOCK.findall(_page(path, steps, **how))
    assert len(found) == 1
    return json.loads(found[0])


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "t.html"


def test_a_token_has_its_label_and_the_five_best(page: Path) -> None:
    logits = _logits(3, (2, 2, 4, 7))
    generator = torch.Generator().manual_seed(1)
    ids = [torch.randint(7, (2, 2, 4), generator=generator) for _ in logits]
    data = _data(page, _steps(logits, ids))
    assert data["t"] == [1.0, 0.6667, 0.3333]
    for image, image_data in enumerate(data["images"]):
        for step, row in enumerate(image_data["steps"]):
            for token, (label, p, _, *best) in enumerate(row):
                expected = logits[step][image, 0, token].softmax(-1)
                own = int(ids[step][image, 0, token])
                assert data["words"][label] == WORDS[own]
                assert p == pytest.approx(1000 * float(expected[own]), abs=0.51)
                top = expected.topk(5)
                kept = [k for k, q in zip(*top[::-1], strict=True) if round(1000 * float(q))]
                assert [data["words"][k] for k in best[::2]] == [WORDS[k] for k in kept]
                shares = [1000 * float(expected[k]) for k in kept]
                assert best[1::2] == pytest.approx(shares, abs=0.51)


def test_only_words_that_are_shown_are_stored(page: Path) -> None:
    names = [f"word{k}" for k in range(5000)]
    data = _data(page, _steps(_logits(20, (1, 1, 12, 5000))), class_names=names)
    cells = [cell for row in data["images"][0]["steps"] for cell in row]
    assert all(len(cell) <= 3 + 2 * 5 for cell in cells)
    assert {k for label, _, _, *best in cells for k in (label, *best[::2])} == set(
        range(len(data["words"]))
    )
    assert page.stat().st_size < 60_000


def test_the_text_ends_before_the_first_pad(page: Path) -> None:
    rows = ("<pad> cat on mat", "a cat <pad> dog", "a red cat on")
    image_data = _data(page, _steps([_sure(row) for row in rows]))["images"][0]
    assert image_data["texts"] == ["", "a cat", "a red cat on"]
    assert image_data["stops"] == [0, 2, 4]


def test_subwords_are_joined_by_their_tokenizer(page: Path) -> None:
    seen: list[list[int]] = []

    def decode(ids: list[int]) -> str:
        seen.append(ids)
        return "".join(WORDS[k] for k in ids)

    image_data = _data(page, _steps([_sure("red cat <pad> dog")]), decode=decode)["images"][0]
    assert image_data["texts"] == ["redcat"]
    assert seen == [[2, 3]]


def test_attributes_have_names_and_no_end(page: Path) -> None:
    names = ("animal", "place", "colour")
    how = {"pad": None, "token_names": names}
    data = _data(page, _steps([_sure("cat mat <pad>")]), **how)
    assert data["tokens"] == [*names]
    assert data["images"][0]["texts"] == ["animal: cat, place: mat, colour: <pad>"]
    assert data["images"][0]["stops"] == [3]


def _marks(data: dict[str, Any], token: int) -> list[int]:
    return [row[token][2] for row in data["images"][0]["steps"]]


def test_what_stays_is_settled_and_what_is_known_is_given(page: Path) -> None:
    logits = _logits(4, (1, 2, 4, 7))
    for step in logits:
        step[0, 0, 1] = forced(step[0, 0, 1], torch.tensor(3))
    for step in logits[2:]:
        step[0, 0, 2] = logits[1][0, 0, 2]
    logits[1][0, 0, 3] = logits[0][0, 0, 3]
    data = _data(page, _steps(logits))
    assert _marks(data, 0) == [FREE] * 4
    assert _marks(data, 1) == [GIVEN] * 4
    assert _marks(data, 2) == [FREE, FREE, SETTLED, SETTLED]
    assert _marks(data, 3) == [FREE] * 4  # it stood still for a step, and moved on
    cells = [row[1] for row in data["images"][0]["steps"]]
    assert [(data["words"][cell[0]], cell[1], cell[4:]) for cell in cells] == [
        ("cat", 1000, [1000])
    ] * 4


def test_another_label_of_the_same_logits_has_not_settled(page: Path) -> None:
    same = _logits(1, (1, 1, 1, 7)) * 3
    ids = [torch.tensor([[[k]]]) for k in (1, 2, 2)]
    assert _marks(_data(page, _steps(same, ids)), 0) == [FREE, FREE, SETTLED]


def test_a_token_that_is_not_written_yet_has_no_label(page: Path) -> None:
    first = _sure("a cat on mat")
    first[0, 0, 2:] = 0
    data = _data(page, _steps([first, _sure("a cat on mat")]))
    image_data = data["images"][0]
    assert [cell[0] for cell in image_data["steps"][0]][2:] == [-1, -1]
    assert image_data["steps"][0][3] == [-1, 0, FREE]
    assert image_data["texts"] == ["a cat", "a cat on mat"]
    assert image_data["stops"] == [2, 4]


def test_one_step_and_few_classes(page: Path) -> None:
    logits = torch.tensor([[[[0.0, -1e4], [0.2, 0.1]]]])
    data = _data(page, _steps([logits]), class_names=("no", "yes"), pad=None)
    assert data["images"][0]["steps"] == [
        [[0, 1000, GIVEN, 0, 1000], [0, 525, FREE, 0, 525, 1, 475]]
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_is_within(page: Path, channels: int) -> None:
    pictures = torch.linspace(-0.1, 1.1, channels * 64).view(1, channels, 8, 8)
    data = _data(page, _steps([_sure("a cat")]), pictures=pictures)
    kind, _, code = data["images"][0]["picture"].partition(",")
    assert (kind, data["size"]) == ("data:image/png;base64", 8)
    with Image.open(BytesIO(base64.b64decode(code))) as image:
        assert (image.size, image.mode) == ((8, 8), "L" if channels == 1 else "RGB")
        pixels = torch.tensor(list(image.tobytes())).view(8, 8, channels).permute(2, 0, 1)
    torch.testing.assert_close(pixels / 255, pictures[0].clamp(0, 1), atol=0.002, rtol=0)


def test_the_first_images_are_shown(page: Path) -> None:
    data = _data(page, _steps(_logits(2, (11, 1, 3, 7))))
    names = [image["name"] for image in data["images"]]
    assert names == [f"{number}.png" for number in range(MOST_IMAGES)]


def test_no_text_can_leave_its_place(page: Path) -> None:
    words = (
        "<pad>",
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "a&b",
        '"q"',
        "'",
        "é\u2028",
    )
    text = _page(
        page, _steps(_logits(3, (2, 1, 5, 7))), names=['<b>"1".png', "&lt;.png"], class_names=words
    )
    (block,) = BLOCK.findall(text)
    assert not set(block) & set("<>&\u2028")
    data = json.loads(block)
    assert set(data["words"]) <= set(words)
    assert [image["name"] for image in data["images"]] == ['<b>"1".png', "&lt;.png"]
    rest = text.replace(block, "")
    assert rest == _template().replace("@DATA@", "")


def _template() -> str:
    return resources.files("addkit.report").joinpath("caption_trace.html").read_text("utf-8")


def test_the_page_is_self_contained() -> None:
    page = _template()
    assert page.count("@DATA@") == 1
    assert "default-src 'none'" in page
    assert not re.search(
        r"https?:|//\w|\ssrc=|\shref=|<link|@import|url\(|innerHTML|\son\w+=", page
    )


def test_where_no_page_can_go(tmp_path: Path) -> None:
    steps = _steps([_sure("a cat")])
    with pytest.raises(UsageError, match=r'ending "\.png"; known: \.html$'):
        _page(tmp_path / "a.png", steps)
    with pytest.raises(UsageError, match=r"there is no folder .*none"):
        _page(tmp_path / "none" / "a.html", steps)
    assert list(tmp_path.iterdir()) == []
    assert _page(tmp_path / "a.HTML", steps).startswith("<!doctype html>")
    assert [file.name for file in tmp_path.iterdir()] == ["a.HTML"]
