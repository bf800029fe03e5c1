from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from addkit.data.augmentation import mix
from addkit.data.image_sets import MemoryImages
from addkit.diffusion import Targets, counted_generator, counted_seed
from addkit.distributed.world import World
from addkit.errors import RunError
from addkit.model import load
from addkit.recipe.tables import Training
from addkit.tasks.classification import Classification
from addkit.training.engine import LossModule
from addkit.training.learning_rate import learning_rate
from addkit.training.optimizer import averaged, gradient_norm

Same = Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], bool]


def test_reports_tell_each_step(lab: Any) -> None:
    trainer = lab.open("run", "training.lr=1e-2", "training.warmup_epochs=0.5")
    seen = lab.fit(trainer)
    assert [report.step for report in seen.reports] == list(range(1, 39))
    assert seen.epochs == [0, 1]
    for report in seen.reports:
        assert report.lr == learning_rate(report.step - 1, trainer.plan, 0.0)
        assert report.images == 64
        assert math.isfinite(report.loss)
        assert 0 <= report.accuracy <= 100
        assert report.gradient_norm > 0
        assert report.seconds > 0
    assert seen.reports[0].loss == pytest.approx(math.log(10), abs=0.5)
    last = [report.loss for report in seen.reports[-5:]]
    assert sum(last) / 5 < 0.8 * seen.reports[0].loss
    assert (trainer.progress.step, trainer.plan.steps) == (38, 38)
    assert max(report.accuracy for report in seen.reports) > 20  # In percent.
    assert trainer.network.training
    assert {g["lr"] for g in trainer.engine.optimizer.param_groups} == {seen.reports[-1].lr}
    assert trainer.progress.seconds == pytest.approx(sum(r.seconds for r in seen.reports), rel=0.2)


def test_a_balanced_training_draws_and_weights_classes(lab: Any) -> None:
    trainer = lab.open("run", "data.sampling='balanced'", "loss.class_weights='balanced'")
    labels = trainer.images.labels[:, 0]
    counts = torch.bincount(labels).tolist()
    weights = torch.tensor(trainer.network.diffusion.loss.weights)
    torch.testing.assert_close(weights, len(labels) / (10 * torch.tensor(counts)))
    drawn = torch.cat([batch.labels[:, 0] for (batch,) in trainer.micro_batches(0)])
    drawn = torch.bincount(drawn)
    assert drawn.max() - drawn.min() <= 12  # the rest of the epoch, which fills no batch


def test_the_same_seed_gives_the_same_bits(lab: Any, same: Same) -> None:
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        lab.fit(lab.open(name, "training.epochs=1", "denoiser.dropout=0.2", f"seed={seed}"))
        torch.rand(3)
    one, two, other = (lab.stored(lab.folder / name) for name in ("one", "two", "other"))
    assert same(one, two)
    assert not same(one, other)


def test_every_micro_batch_has_its_own_noise(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int | str, ...]] = []

    def counted(seed: int, purpose: str, *position: int, device: Any) -> torch.Generator:
        drawn.append((seed, purpose, *position))
        return counted_generator(seed, purpose, *position, device=device)

    def seeded(seed: int, purpose: str, *position: int) -> int:
        drawn.append((seed, purpose, *position))
        return counted_seed(seed, purpose, *position)

    monkeypatch.setattr("addkit.training.trainer.counted_generator", counted)
    monkeypatch.setattr("addkit.training.trainer.counted_seed", seeded)
    trainer = lab.open("run", "seed=5", "distributed.per_process_batch=32")
    seen = lab.fit(trainer, stop_after=3)
    assert [each for each in drawn if each[1] != "augment"] == [
        (5, purpose, step, number)
        for step in range(3)
        for number in range(2)
        for purpose in ("train", "dropout")
    ]
    assert [each for each in drawn if each[1] == "augment"] == [(5, "augment", 0)]
    assert [report.images for report in seen.reports] == [64] * 3


def test_workers_change_nothing(lab: Any, same: Same) -> None:
    for workers in (0, 2):
        lab.fit(lab.open(f"{workers}", "training.epochs=1", f"distributed.workers={workers}"))
    assert same(lab.stored(lab.folder / "0"), lab.stored(lab.folder / "2"))


ACCUMULATED = (
    # Nothing here is drawn for each micro-batch, and no batch norm looks at one: a matched
    # classifier on a frozen encoder. Loss and gradient are then means over the same images.
    "encoder.frozen=true",
    "denoiser={name='control', head='mlp', width=16, depth=1}",
    "embedding.name=linear",
    "training.condition_drop=0",
    "training.pure_noise=0",
    "training.reuse=1",
    "training.warmup_epochs=0",
    "training.epochs=1",
    "control.heads=[]",
    "distributed.per_process_batch=64",
)


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("each", [32, 16])
def test_accumulation_takes_the_same_steps(
    lab: Any, each: int, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if weighted:  # Another sum of weights in each micro-batch.
        monkeypatch.setattr(
            Classification, "targets", lambda _, labels: Targets(labels, (labels % 4).float() ** 2)
        )
    jobs = [
        lab.open(f"{size}", f"distributed.per_process_batch={size}", small=ACCUMULATED)
        for size in (64, each)
    ]
    assert [trainer.plan.accumulation for trainer in jobs] == [1, 64 // each]
    seen = [lab.fit(trainer, stop_after=3) for trainer in jobs]
    for one, many in zip(seen[0].reports, seen[1].reports, strict=True):
        assert many.loss == pytest.approx(one.loss, abs=1e-5)
        assert many.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-4)
        assert many.lr == one.lr
        # One of the 64 rows may be a tie, which rounding decides.
        assert many.accuracy == pytest.approx(one.accuracy, abs=100 / 64 + 1e-6)
    after = [trainer.network.state_dict() for trainer in jobs]
    for name, value in after[0].items():
        torch.testing.assert_close(after[1][name], value, atol=1e-5, rtol=0)
    before = lab.open("before", small=ACCUMULATED).network.state_dict()
    assert any(not torch.equal(before[name], value) for name, value in after[0].items())


def test_a_report_has_the_means_of_its_micro_batches(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Classification, "targets", lambda _, labels: Targets(labels, real=labels < 4)
    )
    trainer = lab.open("run", "distributed.per_process_batch=32")
    module, values = trainer.engine.module, []

    def recorded(*inputs: Any) -> Any:
        values.append(module(*inputs))
        return values[-1]

    trainer.engine.module = recorded
    (report,) = lab.fit(trainer, stop_after=1).reports
    means = [
        sum(float(getattr(value, name)) for value in values) / 2
        for name in ("real_loss", "pad_loss", "accuracy")
    ]
    assert (report.real_loss, report.pad_loss, report.accuracy / 100) == pytest.approx(means)
    assert report.real_loss != pytest.approx(report.pad_loss)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_images_are_mixed_where_either_is_asked_for(
    lab: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def mixed(*inputs: Any) -> Any:
        calls.append(inputs[2])
        return mix(*inputs)

    monkeypatch.setattr("addkit.training.trainer.mix", mixed)
    lab.fit(lab.open("run", f"augmentation.{kind}=0.5"), stop_after=2)
    assert [getattr(augmentation, kind) for augmentation in calls] == [0.5, 0.5]


def test_the_objective_has_the_settings_of_the_recipe() -> None:
    rows = {"stratified": False, "pure_noise": 0.4, "condition_drop": 0.3, "rollout": 0.2}
    rows |= {"token_times": (0.5, 0.25, 0.25), "sum_tokens": True}
    for precision in ("bfloat16", "float32"):
        training = Training(lr=0.1, precision=precision, **rows)
        module = LossModule(torch.nn.Identity(), None, SimpleNamespace(training=training))
        assert asdict(module.settings) == rows
        assert module.low_precision == (precision == "bfloat16")


def _order(trainer: Any, epoch: int = 0) -> list[int]:
    return [
        index for batches in trainer.micro_batches(epoch) for b in batches for index in b.indices
    ]


def test_an_epoch_visits_whole_batches_once(lab: Any) -> None:
    trainer = lab.open("run")
    order = _order(trainer)
    assert len(order) == len(set(order)) == 19 * 64
    trainer.progress = replace(trainer.progress, step=19)
    other = _order(trainer, 1)
    assert other != order
    assert len(set(order) | set(other)) > 19 * 64


def test_the_order_does_not_depend_on_the_cut(lab: Any) -> None:
    trainer = lab.open("whole")
    whole = _order(trainer)
    assert _order(lab.open("cut", "distributed.per_process_batch=16")) == whole
    trainer.progress = replace(trainer.progress, step=5)
    assert _order(trainer) == whole[5 * 64 :]


def test_processes_share_a_global_batch(lab: Any) -> None:
    """Each reads its part of what one process reads."""
    trainer = lab.open("run")
    whole = _order(trainer)
    trainer.plan = replace(trainer.plan, processes=2, per_process_batch=16, accumulation=2)
    parts = []
    for rank in (0, 1):
        trainer.world = World(rank, 2)
        parts.append(
            [list(batch.indices) for batches in trainer.micro_batches(0) for batch in batches]
        )
    together = [part for pair in zip(*parts, strict=True) for part in pair]
    assert [index for part in together for index in part] == whole


def test_clipping_bounds_the_step(lab: Any) -> None:
    trainer = lab.open("run", "training.clip_norm=1e-3")
    seen = lab.fit(trainer, stop_after=1)
    assert seen.reports[0].gradient_norm > 1e-3  # as it was before
    clipped = torch.stack(
        [p.grad.norm() for p in trainer.network.parameters() if p.grad is not None]
    )
    assert float(clipped.norm()) == pytest.approx(1e-3, rel=1e-3)
    off = lab.open("off", "training.clip_norm=0")
    report = lab.fit(off, stop_after=1).reports[0]
    grads = torch.stack([p.grad.norm() for p in off.network.parameters() if p.grad is not None])
    assert float(grads.norm()) == pytest.approx(report.gradient_norm, rel=1e-4)


def test_gradients_are_those_of_the_weighted_mean(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Classification, "targets", lambda _, labels: Targets(labels, (labels % 4).float() ** 2)
    )
    trainer = lab.open("run", "training.clip_norm=0")
    report = lab.fit(trainer, stop_after=1).reports[0]
    norms = [p.grad.norm() for p in trainer.network.parameters() if p.grad is not None]
    assert float(torch.stack(norms).norm()) == pytest.approx(report.gradient_norm, rel=1e-4)


def test_a_step_reads_side_inputs_and_another_answer_for_each_copy(lab: Any) -> None:
    trainer = lab.open("run", "training.reuse=4")
    lab.fit(trainer, stop_after=1)
    (batch,) = next(iter(trainer.micro_batches(0)))
    answers = torch.arange(4).view(1, 4, 1).expand(64, 4, 1)
    sides: Any = object()
    batch = replace(
        batch, references=answers, reference_counts=torch.full((64,), 4), side_inputs=sides
    )
    read: list[Any] = []

    def module(*inputs: Any) -> Any:
        read.extend(inputs)
        raise InterruptedError

    trainer.engine.module = module
    with pytest.raises(InterruptedError):
        trainer.train_step([batch])
    _, labels, _, side_inputs = read
    assert side_inputs is sides
    assert torch.equal(labels.sort(1).values, answers)


def test_the_objective_reads_side_inputs(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []

    def objective(*inputs: Any) -> Any:
        read.extend(inputs)
        raise InterruptedError

    monkeypatch.setattr("addkit.training.engine.objective", objective)
    module, sides = lab.open("run").engine.module, object()
    with pytest.raises(InterruptedError):
        module(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 1).long(), torch.Generator(), sides)
    assert read[-1] is sides


def test_weights_are_averaged_as_the_recipe_says(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    decays: list[float] = []

    def recorded(network: Any, decay: float) -> Any:
        decays.append(decay)
        return averaged(network, decay)

    monkeypatch.setattr("addkit.training.engine.averaged", recorded)
    assert lab.open("run", "training.ema=0.9").engine.average is not None
    assert lab.open("off", "training.ema=0").engine.average is None
    assert decays == [0.9]


def test_bfloat16_keeps_weights_and_loss_in_float32(lab: Any) -> None:
    trainer = lab.open("run", "training.precision=bfloat16")
    report = lab.fit(trainer, stop_after=1).reports[0]
    assert math.isfinite(report.loss)
    exact = lab.fit(lab.open("exact"), stop_after=1).reports[0]
    assert report.loss == pytest.approx(exact.loss, rel=0.02)
    assert {p.dtype for p in trainer.network.parameters()} == {torch.float32}
    assert {x.dtype for x in trainer.engine.optimizer.state_dict()["state"][0].values()} == {
        torch.float32
    }


WAYS = {
    "mixup": ["augmentation.mixup=0.8"],
    "cutmix": ["augmentation.cutmix=1.0"],
    "both": ["augmentation.mixup=0.8", "augmentation.cutmix=1.0", "augmentation.erase=0.5"],
    "rand-augment": ["augmentation.rand_augment=rand-m5-n2", "augmentation.crop=[0.5, 1.0]"],
    "paper": [
        "embedding.name=linear",
        "denoiser={name='transformer', width=16, depth=1, heads=2}",
        "loss={name='weighted-ce', label_smoothing=0.1, normalise=true}",
        "schedule.name=linear",
        "conditioner.name=all-tokens",
    ],
    "mse": ["loss.name=mse", "denoiser.bayes_skip=false", "schedule.name=sigmoid"],
    "mse-noise": ["loss.name=mse-noise", "denoiser.bayes_skip=false", "read_out.name=last"],
    "label-accuracy": ["schedule={name='label-accuracy', scale=2.0}", "training.stratified=false"],
    "no average": ["training.ema=0", "training.pure_noise=0", "training.condition_drop=0"],
    "control": ["denoiser={name='control', head='mlp', width=16}"],
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_takes_a_step_and_can_be_loaded(lab: Any, way: str) -> None:
    small = tuple(
        one
        for one in ("encoder.widths=[8, 16]", "denoiser.width=16", "training.epochs=1")
        if not (one.startswith("denoiser") and any(c.startswith("denoiser={") for c in WAYS[way]))
    )
    trainer = lab.open("run", *WAYS[way], small=small)
    before = {name: x.clone() for name, x in trainer.network.state_dict().items()}
    seen = lab.fit(trainer, stop_after=2)
    assert all(math.isfinite(report.loss) for report in seen.reports)
    assert any(not torch.equal(before[n], x) for n, x in trainer.network.state_dict().items())
    trainer.save(wait=True)
    told = load(trainer.run.path).predict(torch.zeros(2, 1, 8, 8), steps=2)
    assert len(told) == 2
    assert math.isfinite(told[0].label.probability)
    assert list(trainer.engine.networks()) == (["raw"] if way == "no average" else ["ema", "raw"])


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """One image is not a number in the second epoch."""
    batch, bad = MemoryImages.batch, counted_seed(0, "augment", 1)

    def poison(self: MemoryImages, indices: Any, seed: int | None) -> Any:
        made = batch(self, indices, seed)
        if seed == bad and 17 in indices:
            made.images[list(indices).index(17)] = math.nan
        return made

    monkeypatch.setattr(MemoryImages, "batch", poison)


@pytest.mark.usefixtures("poisoned")
def test_a_loss_that_is_no_number_stops(lab: Any) -> None:
    trainer = lab.open("run")
    recorder = lab.Recorder()
    with pytest.raises(RunError) as caught:
        trainer.fit([recorder])
    step = recorder.reports[-1].step + 1
    assert 19 < step <= 38
    text = str(caught.value)
    assert text.startswith(
        f"{trainer.run.path}: loss is nan at step {step}; its images: digits, image"
    )
    assert " and 56 more. " in text
    last = trainer.run.checkpoints / "step-00000019"
    assert f"The last good checkpoint is {last}. " in text
    # Nothing of the bad step was kept.
    told = load(trainer.run.path).predict(torch.zeros(1, 1, 8, 8))
    assert math.isfinite(told[0].label.probability)


def test_a_gradient_that_is_no_number_stops(lab: Any) -> None:
    trainer = lab.open("run")
    next(trainer.network.encoder.parameters()).register_hook(lambda grad: grad * math.inf)
    with pytest.raises(RunError, match=r"gradient norm is (inf|nan) at step 1; its images: "):
        trainer.fit()


def test_the_first_checkpoint_stands_before_the_first_step(lab: Any) -> None:
    trainer = lab.open("run")
    assert trainer.saved == trainer.run.checkpoints / "step-00000000"
    assert asdict(trainer.progress) == {"step": 0, "seconds": 0.0}
    assert set(lab.stored(trainer.run.path)) == {
        *(f"raw: {name}" for name in trainer.network.state_dict()),
        *(f"ema: {name}" for name in trainer.network.state_dict()),
    }


def test_checkpoints_come_as_often_as_asked(lab: Any) -> None:
    trainer = lab.open(
        "run", "training.epochs=5", "checkpoints.every=2", "checkpoints.keep_every=3"
    )
    assert trainer.writer.keep.every == 3 * 19
    saved: list[int] = []
    save, written = trainer.writer.save, []

    def counted(progress: Any, *words: Any, **more: Any) -> Any:
        written.append(progress.step)
        return save(progress, *words, **more)

    trainer.writer.save = counted
    recorder = lab.Recorder()
    recorder.epoch = lambda trainer, epoch: saved.append(int(trainer.saved.name.split("-")[1]))
    trainer.fit([recorder])
    assert saved == [0, 38, 38, 76, 95]
    assert written == [38, 76, 95]
    assert trainer.saved.name == "step-00000095"


def test_the_gradient_is_that_of_the_mean_loss(lab: Any) -> None:
    trainer = lab.open("run", small=ACCUMULATED)
    recipe = trainer.recipe
    micro_batches = next(trainer.begin_epoch(0))
    (batch,) = micro_batches
    labels = batch.labels[:, None].expand(-1, recipe.training.reuse, -1)
    noise = counted_generator(recipe.seed, "train", 0, 0, device=trainer.device)
    value = trainer.engine.module(batch.images, labels, noise, batch.side_inputs)
    value.loss.backward()
    norm = float(gradient_norm(trainer.parameters))
    report = trainer.train_step(micro_batches)
    trainer.close()
    assert report.loss == pytest.approx(float(value.loss.detach()))
    assert report.gradient_norm == pytest.approx(norm, rel=1e-4)
