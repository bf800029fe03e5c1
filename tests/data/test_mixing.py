from __future__ import annotations

import pytest
import torch
from torch import Tensor

from addkit.data.augmentation import mix
from addkit.data.captions import pick_answers
from addkit.plugin.values import Batch
from addkit.recipe.tables import Augmentation


def _mixed(
    count: int, reuse: int, settings: dict[str, float], seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Images filled with their own number, mixed; the labels drawn; the numbers."""
    ids = torch.arange(count)
    images = ids.float()[:, None, None, None].expand(count, 1, 8, 8)
    augmentation = Augmentation.model_validate(settings)
    generator = torch.Generator().manual_seed(seed)
    copies = ids[:, None, None].expand(-1, reuse, -1)
    mixed, labels = mix(images, copies, augmentation, generator)
    return mixed, labels, ids


def test_off_changes_and_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    images, labels = torch.rand(4, 3, 8, 8), torch.arange(24).view(4, 3, 2)
    mixed, copies = mix(images, labels, Augmentation.model_validate({}), generator)
    assert mixed is images
    assert copies is labels
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("settings", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 1, "cutmix": 1}])
def test_labels_follow_the_share_of_the_pixels(settings: dict[str, float]) -> None:
    reuse = 4000
    mixed, labels, _ = _mixed(64, reuse, settings)
    # The mean of the pixels is lam * own + (1 - lam) * partner, and so must the labels' mean be.
    spread = labels.float().std((1, 2)).clamp_min(1e-3) / reuse**0.5
    error = (mixed.mean((1, 2, 3)) - labels.float().mean((1, 2))) / spread
    assert error.abs().max() < 4.5
    assert all(len(row.unique()) <= 2 for row in labels)


def test_labels_stay_ids_and_tokens_stay_together() -> None:
    labels = torch.stack([torch.arange(32), torch.arange(32) + 100], 1)
    generator = torch.Generator().manual_seed(0)
    augmentation = Augmentation.model_validate({"mixup": 1.0})
    copies = labels[:, None].expand(-1, 8, -1)
    _, copies = mix(torch.rand(32, 1, 4, 4), copies, augmentation, generator)
    assert copies.shape == (32, 8, 2)
    assert copies.dtype == torch.int64
    assert torch.equal(copies[..., 0] + 100, copies[..., 1])


def test_mixup_shares_are_beta() -> None:
    shares = _own_shares(_mixed(4000, 1, {"mixup": 0.3})[0])
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(shares.var()) == pytest.approx(1 / (4 * 1.6), abs=0.01)


def _own_shares(mixed: Tensor) -> Tensor:
    """lam from values: own + (1 - lam) (partner - own), the permutation found by the same seed."""
    count = len(mixed)
    own = torch.arange(count).float()
    partner = torch.randperm(count, generator=torch.Generator().manual_seed(0)).float()
    moved = partner != own
    means = mixed.mean((1, 2, 3))
    return (1 - (means - own) / (partner - own))[moved]


def test_cutmix_pastes_boxes() -> None:
    mixed, _, ids = _mixed(200, 1, {"cutmix": 1.0})
    for image, own in zip(mixed[:, 0], ids, strict=True):
        box = image != own
        assert len(image[box].unique()) <= 1
        assert int(box.sum()) == int(box.any(1).sum()) * int(box.any(0).sum())


def test_the_coin_takes_each_about_half_the_time() -> None:
    mixed, _, ids = _mixed(2000, 1, {"mixup": 1.0, "cutmix": 1.0})
    blended = [(image != own).all().item() for image, own in zip(mixed, ids, strict=True)]
    assert sum(blended) / len(blended) == pytest.approx(0.5, abs=0.05)


def test_the_generator_decides_everything() -> None:
    torch.manual_seed(0)
    both = {"mixup": 1.0, "cutmix": 1.0}
    first = _mixed(16, 4, both, seed=5)
    again = _mixed(16, 4, both, seed=5)
    other = _mixed(16, 4, both, seed=6)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert torch.initial_seed() == 0


def _answered(counts: list[int], most: int) -> Batch:
    """Image i has the answers [10 i + c, 10 i + c], and its first one again up to `most`."""
    rows = [[10 * i + (c if c < n else 0) for c in range(most)] for i, n in enumerate(counts)]
    references = torch.tensor(rows)[..., None].expand(-1, -1, 2)
    images = torch.zeros(len(counts), 1, 4, 4)
    indices = tuple(range(len(counts)))
    return Batch(images, references[:, 0], indices, references, torch.tensor(counts))


def test_copies_take_answers_evenly() -> None:
    generator = torch.Generator().manual_seed(0)
    counts = [1, 3, 2] * 400
    copies = pick_answers(_answered(counts, 3), 3, generator)
    assert copies.shape == (1200, 3, 2)
    assert torch.equal(copies[..., 0], copies[..., 1])
    answers = copies[..., 0] - 10 * torch.arange(1200)[:, None]
    assert answers[0::3].eq(0).all()
    assert torch.equal(answers[1::3].sort().values, torch.arange(3).expand(400, 3))
    first = answers[2::3, 0].float()
    assert float(first.mean()) == pytest.approx(0.5, abs=0.1)
    assert set(answers[2::3].flatten().tolist()) == {0, 1}


def test_one_answer_is_every_copys() -> None:
    labels = torch.tensor([[1, 2], [3, 4]])
    batch = Batch(torch.zeros(2, 1, 4, 4), labels, (0, 1))
    state = torch.Generator().manual_seed(0)
    before = state.get_state()
    copies = pick_answers(batch, 3, state)
    assert torch.equal(copies, labels[:, None].expand(2, 3, 2))
    assert torch.equal(state.get_state(), before)
