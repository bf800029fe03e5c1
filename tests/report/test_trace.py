from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from addkit.diffusion import ChainStep, Clean
from addkit.errors import UsageError
from addkit.report.trace import MOST_CLASSES, check_target, draw_trace
from addkit.schedules.closed_form import CosineSchedule
from addkit.schedules.settings import CosineConfig

SCHEDULE = CosineSchedule(CosineConfig())


def _steps(count: int, images: int, classes: int) -> list[ChainStep]:
    generator = torch.Generator().manual_seed(0)
    shape = (images, 2, 1, classes)
    steps = []
    for index in range(count):
        logits = torch.randn(shape, generator=generator) * (1 + index)
        steps.append(
            ChainStep(
                index,
                1 - index / count,
                logits,
                Clean(logits.argmax(-1)),
                torch.zeros(images, dtype=torch.bool),
                torch.randn(shape, generator=generator) if index % 2 else None,
            )
        )
    return steps


def _draw(path: Path, *, count: int = 20, images: int = 2, classes: int = 3, channels: int = 3):
    names = [f"photos/cost_$5_and_$6^{number}.png" for number in range(images)]
    classes_named = [f"class $_{k}^$" for k in range(classes)]
    pictures = torch.rand(images, channels, 8, 8) * 1.2 - 0.1
    draw_trace(path, _steps(count, images, classes), pictures, names, classes_named, SCHEDULE)
    return path


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_drawn(tmp_path: Path, channels: int) -> None:
    with Image.open(_draw(tmp_path / "a.png", channels=channels)) as image:
        image.load()
        assert image.width > image.height > 300
        assert len(image.convert("RGB").getcolors(1 << 24)) > 10


@pytest.mark.parametrize(("count", "images", "classes"), [(1, 1, 2), (2, 3, 10), (3, 1, 1000)])
def test_any_number_of_steps_images_and_classes(
    tmp_path: Path, count: int, images: int, classes: int
) -> None:
    path = _draw(tmp_path / "a.png", count=count, images=images, classes=classes)
    with Image.open(path) as image:
        image.verify()


def test_other_formats(tmp_path: Path) -> None:
    few = {"count": 2, "images": 1}
    assert _draw(tmp_path / "a.svg", **few).read_text("utf-8").startswith("<?xml")
    assert _draw(tmp_path / "a.PDF", **few).read_bytes().startswith(b"%PDF")


def test_of_many_classes_the_leading_ones_are_shown(tmp_path: Path) -> None:
    text = _draw(tmp_path / "a.svg", classes=100, images=1).read_text("utf-8")
    shown = {k for k in range(100) if f"class $_{k}^$" in text}
    assert "<!-- rest -->" in text
    assert len(shown) == MOST_CLASSES - 1


def test_where_no_picture_can_go(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'ending "\.xyz"; known: \.png, \.svg, \.pdf'):
        check_target(tmp_path / "a.xyz")
    with pytest.raises(UsageError, match=r'ending ""'):
        _draw(tmp_path / "a")
    with pytest.raises(UsageError, match=r"there is no folder .*none"):
        check_target(tmp_path / "none" / "a.png")
    assert list(tmp_path.iterdir()) == []
