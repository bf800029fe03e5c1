"""Features of a frozen encoder: computed once, read like images, never read where broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from addkit.data.features import FeatureImages, write_table
from addkit.data.image_sets import MemoryImages
from addkit.errors import AddkitWarning, DataError, RecipeError, RunError
from addkit.training.checks import check_training
from addkit.training.features import FeatureCache, FeaturePlan
from addkit.training.train import train
from addkit.training.trainer import Callback, Trainer

Same = Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], bool]
FROZEN = ("encoder.frozen=true", "augmentation.shift=0", "training.lr=1e-2")

JOINT = (
    'conditioner={name="all-tokens"}',
    'denoiser={name="transformer", width=16, depth=1, heads=1}',
    "encoder.widths=[4, 4, 8]",  # 4 tokens
)
"""A denoiser that reads all tokens, where a classifier reads their mean."""


class Viewer(Callback):
    """Keeps what is said about features."""

    def __init__(self) -> None:
        self.plans: list[FeaturePlan] = []
        self.calls: list[tuple[int, int | None]] = []

    def features(self, trainer: Trainer, plan: FeaturePlan, done: int, total: int | None) -> None:
        self.plans.append(plan)
        self.calls.append((done, total))


@pytest.fixture
def start(lab: Any, tmp_path: Path) -> Callable[..., Trainer]:
    def opened(name: str, *changes: str) -> Trainer:
        trainer: Trainer = lab.open(name, *FROZEN, f'features.folder="{tmp_path}/cache"', *changes)
        return trainer

    return opened


def _tables(folder: Path, split: str = "") -> list[Path]:
    return sorted((folder / "cache").glob(f"{split or '[a-z]'}*"))


def _prepared(trainer: Trainer) -> Viewer:
    viewer = Viewer()
    trainer.callbacks = [viewer]
    trainer._prepare_features()
    return viewer


@pytest.mark.parametrize("changes", [(), JOINT], ids=["mean", "all"])
def test_features_change_nothing(
    lab: Any, same: Same, start: Any, changes: tuple[str, ...]
) -> None:
    changes = (*changes, "training.epochs=1")
    cached, live = start("cached", *changes), start("live", *changes, "features.cache=false")
    assert cached.run.path != live.run.path
    losses = [[report.loss for report in lab.fit(each).reports] for each in (cached, live)]
    assert cached.reads_features
    assert not live.reads_features
    assert losses[0] == losses[1]
    one, other = (lab.stored(each.run.path) for each in (cached, live))
    assert same(one, other)


def test_what_the_conditioner_reads_is_kept(start: Any, lab: Any) -> None:
    trainer = start("run")
    viewer = _prepared(trainer)
    plan = viewer.plans[0]
    assert (plan.tokens, plan.width, plan.images) == (1, 16, 1797)
    files = [table / "features.npy" for table in _tables(lab.folder)]
    assert plan.bytes <= sum(file.stat().st_size for file in files) < 1.1 * plan.bytes
    images = trainer._pictures["test"].batch([3, 0, 7], None)
    batch = trainer.splits["test"].batch([3, 0, 7], None)
    network = trainer.network.eval()
    torch.testing.assert_close(batch.images, network.pool(network.tokens(images.images)))
    assert torch.equal(batch.labels, images.labels)
    assert batch.indices == images.indices
    features = trainer.splits["test"]
    assert (len(features), features.source(3)) == (539, trainer._pictures["test"].source(3))
    assert features.picture(3).size == (8, 8)


def test_progress_counts_images_once(start: Any) -> None:
    first, second = _prepared(start("first")), _prepared(start("second"))
    assert first.calls[:2] == [(0, None), (0, 1797)]
    done = [done for done, _ in first.calls[1:]]
    assert done == sorted(done)
    assert done[-1] == 1797
    assert second.calls == [(0, None), (0, 0)]


@pytest.mark.parametrize(
    ("change", "tables"),
    [
        ("seed=1", 4),
        ("data.mean=[0.5]", 4),
        ("features.dtype=float16", 4),
        ("conditioner.width=8", 2),
        ("encoder.lr_scale=0.5", 2),
    ],
)
def test_the_key_is_what_features_depend_on(start: Any, lab: Any, change: str, tables: int) -> None:
    _prepared(start("first"))
    _prepared(start("second", change))
    assert len(_tables(lab.folder)) == tables


def test_a_control_reads_the_features_of_its_run(
    start: Any, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it pools what the run reads whole."""
    quick = ("training.epochs=1", "sampling.steps=1", 'control.heads=["linear"]')
    viewer = Viewer()
    trainer = start("run", *JOINT, *quick)
    train(trainer.recipe, trainer.run, [viewer], "cpu")
    assert viewer.calls[-2:] == [(0, None), (0, 0)]
    assert len(_tables(lab.folder)) == 2
    live = start("live", *JOINT, *quick, "features.cache=false")
    result = train(live.recipe, live.run, device="cpu")
    assert result.scores == trainer.run.scores()


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_broken_table_is_computed_again(start: Any, lab: Any, damage: str) -> None:
    first = start("first")
    _prepared(first)
    (table,) = _tables(lab.folder, "test")
    file = table / "features.npy"
    content = bytearray(file.read_bytes())
    features = first.splits["test"].batch([5], None).images
    if damage == "gone":
        file.unlink()
    else:
        content[-1] ^= 1
        file.write_bytes(content[:-10] if damage == "cut" else content)
    second = start("second")
    with pytest.warns(AddkitWarning, match=r"features\.npy.*computed again"):
        viewer = _prepared(second)
    assert viewer.calls[-1] == (539, 539)
    assert torch.equal(second.splits["test"].batch([5], None).images, features)


def test_an_interrupted_computation_leaves_nothing(
    start: Any, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = start("run")

    class Killer(Callback):
        def features(self, trainer: Trainer, plan: Any, done: int, total: int | None) -> None:
            if done > 100:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit([Killer()])
    assert not _tables(lab.folder)
    assert not list((lab.folder / "cache").glob(".*tmp"))
    assert _prepared(start("again")).calls[-1] == (1797, 1797)


def test_a_folder_that_cannot_be_written_caches_nothing(
    start: Any, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lab.folder / "cache").write_text("a file")
    trainer = start("run")
    with pytest.warns(AddkitWarning, match="cannot be written"):
        _prepared(trainer)
    assert not trainer.reads_features
    with pytest.raises(RunError, match="cannot be written"):
        _prepared(start("wanted", "features.cache=true"))


def test_a_full_disk_is_seen_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda path: full)
    with pytest.raises(RunError, match=r"400 B needed, 10 B free"):
        write_table(tmp_path / "table", iter(()), (10, 1, 10), "float32")
    monkeypatch.undo()
    with pytest.raises(DataError, match="0 of 10"):
        write_table(tmp_path / "table", iter(()), (10, 1, 10), "float32")
    assert not list(tmp_path.iterdir())


def test_augmentation_that_changes_images_caches_nothing(start: Any, lab: Any) -> None:
    trainer = start("run", "augmentation.shift=2")
    viewer = _prepared(trainer)
    assert viewer.calls == [(0, None)]
    assert "features.views" in viewer.plans[0].reason
    assert not trainer.reads_features
    assert not _tables(lab.folder)


def test_the_cache_can_be_demanded(start: Any) -> None:
    """The frozen epochs then see the images as they are."""
    trainer = start("run", "augmentation.shift=2", "features.cache=true")
    viewer = _prepared(trainer)
    assert viewer.plans[0].ignored == ("shift",)
    plain = trainer._pictures["train"].batch([5], None).images
    network = trainer.network.eval()
    features = trainer.images.batch([5], 1).images
    torch.testing.assert_close(features, network.pool(network.tokens(plain)))


def test_data_that_draw_other_images_cache_nothing(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FeatureCache, "changes", lambda self: True)
    trainer = start("run")
    assert 'the data "digits"' in _prepared(trainer).plans[0].reason
    assert not trainer.reads_features


def test_views_are_fixed_and_drawn_by_seed_and_index(start: Any, lab: Any) -> None:
    changes = ("augmentation.shift=2", "features.views=3")
    trainer = start("run", *changes)
    assert _prepared(trainer).plans[0].images == 3 * 1258 + 539
    images = trainer.images
    views = [images.batch([5], seed).images for seed in range(40)]
    assert len({tuple(view.flatten().tolist()) for view in views}) == 3
    assert torch.equal(images.batch([1, 5], 3).images[1:], images.batch([5], 3).images)
    other = start("other seed", *changes, "training.epochs=1")
    assert _prepared(other).calls[-1] == (0, 0)


def test_half_precision_halves_the_size(start: Any) -> None:
    whole, half = (_prepared(start(d, f"features.dtype={d}")) for d in ("float32", "float16"))
    assert whole.plans[0].bytes == 2 * half.plans[0].bytes


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (("encoder.frozen=false", "features.views=2"), "views"),
        (("encoder.frozen=false", "features.cache=true"), "cache"),
        (("encoder.frozen=false", "training.unfreeze_after=1"), "unfreeze_after"),
        (("training.unfreeze_after=1", "distributed.strategy=fsdp"), "FSDP"),
    ],
)
def test_keys_without_effect_are_refused(start: Any, changes: tuple[str, ...], text: str) -> None:
    trainer = start("run", *changes)
    with pytest.raises(RecipeError, match=text):
        check_training(trainer.recipe, trainer.source.facts)


def test_captions_and_side_inputs_are_kept(lab: Any) -> None:
    trainer = lab.open("run", *FROZEN, "features.cache=false")
    pictures = trainer.images
    assert isinstance(pictures, MemoryImages)
    tokens = torch.rand(len(pictures), 1, 4).numpy()
    features = FeatureImages(pictures, [tokens])
    assert features.shards is None
    assert features.batch([2, 1], 0).images.shape == (2, 1, 4)
