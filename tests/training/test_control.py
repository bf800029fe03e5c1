from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from addkit.errors import RecipeError
from addkit.model import build_data, build_network
from addkit.recipe import Recipe, read_recipe
from addkit.runs import Run
from addkit.training.control import control_recipe, fitting_width, heads_of
from addkit.training.trainer import Trainer

Read = Callable[..., Recipe]


@pytest.fixture
def read(recipes: Path) -> Read:
    return lambda *overrides: read_recipe(recipes / "digits.toml", overrides)


def _control(recipe: Recipe, head: str) -> Recipe:
    return control_recipe(recipe, head, build_data(recipe).facts)


def test_a_control_differs_in_its_head_alone(read: Read) -> None:
    recipe = read(
        "loss={name='weighted-ce', label_smoothing=0.1, class_weights=0.5}", "denoiser.depth=3"
    )
    control = _control(recipe, "mlp")
    for kind in ("task", "data", "encoder", "conditioner"):
        assert control.choices[kind] == recipe.choices[kind]
    assert control.augmentation == recipe.augmentation
    assert control.distributed == recipe.distributed
    same = {"condition_drop": 0.0, "pure_noise": 0.0}
    assert control.training == recipe.training.model_copy(update=same)
    denoiser = control.choices["denoiser"].config
    assert (control.choices["denoiser"].name, denoiser.head) == ("control", "mlp")
    assert (denoiser.width, denoiser.depth) == (64, 3)
    loss = control.choices["loss"]
    assert (loss.name, loss.config.label_smoothing) == ("ce", 0.1)
    assert loss.config.class_weights == 0.5
    assert control.choices["read_out"].name == "one-pass"
    assert (control.seed, control.name, control.files) == (0, recipe.name, recipe.files)


def test_a_control_of_another_loss_is_a_classifier(read: Read) -> None:
    recipe = read("loss.name=mse", "denoiser.bayes_skip=false")
    assert _control(recipe, "linear").choices["loss"].name == "ce"


def _head_and_encoder(recipe: Recipe) -> tuple[int, int]:
    counts = build_network(recipe, build_data(recipe).facts, "meta").parameter_counts()
    return counts.denoiser + counts.projections, counts.encoder


SHALLOW = ("encoder.depth=1",)
SIZES = [
    ("digits", ()),
    ("digits", ("denoiser.depth=4", "denoiser.time=false", "embedding.name=linear")),
    ("digits", ("denoiser={name='transformer', width=64, depth=2, heads=4}",)),
    ("fashion-mnist", ()),
    ("fashion-mnist-paper", ()),
    ("imagenet", SHALLOW),
    ("imagenet-addkit", SHALLOW),
    ("imagenet-addkit", (*SHALLOW, "denoiser={name='transformer'}")),
]


@pytest.mark.parametrize(("name", "changes"), SIZES)
def test_the_mlp_control_has_as_many_parameters(
    recipes: Path, name: str, changes: tuple[str, ...]
) -> None:
    """Behind the condition; the encoders are equal anyway."""
    add = read_recipe(recipes / f"{name}.toml", changes)
    (size, encoder), control = _head_and_encoder(add), _control(add, "mlp")
    assert _head_and_encoder(control) == (pytest.approx(size, rel=0.02), encoder)


def test_a_head_that_cannot_be_so_small_is_as_small_as_it_can_be() -> None:
    assert fitting_width(100, lambda width: 20 + 10 * width) == 8
    assert fitting_width(104, lambda width: 20 + 10 * width) == 8
    assert fitting_width(109, lambda width: 20 + 10 * width) == 9
    assert fitting_width(10, lambda width: 20 + 10 * width) == 1


def test_a_head_reads_one_token(read: Read) -> None:
    recipe = read("conditioner.name=all-tokens", "denoiser={name='transformer', width=16, heads=2}")
    control = _control(recipe, "mlp")
    assert control.choices["conditioner"].name == "mean-token"
    assert control.choices["denoiser"].config.width == 16


def test_guidance_is_off_where_nothing_was_dropped(read: Read) -> None:
    recipe = read("sampling.guidance=2.0", "sampling.chains=4", "sampling.early_exit=3")
    sampling = _control(recipe, "linear").sampling
    assert (sampling.guidance, sampling.chains, sampling.early_exit) == (1.0, 1, 0)
    assert _control(read("timesteps.name=warped"), "linear").choices["timesteps"].name == "power"


def test_who_has_controls(read: Read) -> None:
    assert heads_of(read()) == ("linear",)
    assert heads_of(read('control.heads=["linear", "mlp"]')) == ("linear", "mlp")
    assert heads_of(read("control.heads=[]")) == ()
    assert heads_of(read("denoiser.name=control")) == ()
    assert heads_of(_control(read(), "mlp")) == ()


@pytest.mark.parametrize(("recipe", "head"), [("digits", "masked"), ("emoji", "linear")])
def test_controls_are_of_the_task(recipes: Path, recipe: str, head: str) -> None:
    path = recipes / f"{recipe}.toml"
    with pytest.raises(RecipeError) as caught:
        heads_of(read_recipe(path, [f'control.heads=["{head}"]']))
    task, known = {
        "digits": ("classification", "linear, mlp"),
        "emoji": ("captioning", "autoregressive, masked, masked-weighted, one-shot"),
    }[recipe]
    for part in (f"{path}: [control] heads:", f'"{head}"', f'"{task}"', known):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("head", "process", "sampler", "embedding", "read_out"),
    [
        ("autoregressive", {"name": "autoregressive"}, "left-to-right", "token", "consensus"),
        ("masked", {"name": "masked", "weight": "none"}, "maskgit", "token", "consensus"),
        ("masked-weighted", {"name": "masked", "weight": "1/t"}, "maskgit", "token", "consensus"),
        ("one-shot", {"name": "gaussian"}, "renoise", "posterior", "one-pass"),
    ],
)
def test_controls_of_sequences(
    recipes: Path, head: str, process: Any, sampler: str, embedding: str, read_out: str
) -> None:
    drawn = ("to_one.name=sample", "sampling.steps=7", "denoiser.bayes_skip=true")
    recipe = read_recipe(recipes / "emoji.toml", [f'control.heads=["{head}"]', *drawn])
    assert heads_of(recipe) == (head,)
    control = _control(recipe, head)
    for kind in ("task", "tokenizer", "data", "encoder", "conditioner", "schedule", "loss"):
        assert control.choices[kind] == recipe.choices[kind]
    assert control.tables()["process"] == process
    named = {"sampler": sampler, "embedding": embedding, "read_out": read_out}
    assert {kind: control.choices[kind].name for kind in named} == named
    assert control.training.pure_noise == (1 if head == "one-shot" else recipe.training.pure_noise)
    assert (control.training.token_times, control.training.rollout) == ((1, 0, 0), 0)
    assert control.training.epochs == recipe.training.epochs
    assert control.training.lr == recipe.training.lr
    assert control.sampling.chains == 1
    assert control.choices["to_one"].name == "argmax"
    assert not control.choices["denoiser"].config.bayes_skip
    assert control.sampling.steps == (7 if "masked" in head else 1)
    assert heads_of(control) == ()


def test_a_control_sees_the_same_images_in_the_same_order(lab: Any) -> None:
    add = lab.open("add", "augmentation.flip=0.5")
    matched = _control(add.recipe, "mlp")
    run = Run.create(lab.folder / "control", matched, add.run.facts())
    control = Trainer.open(run, matched, "cpu")
    both = (
        [b for batches in trainer.micro_batches(0) for b in batches] for trainer in (add, control)
    )
    pairs = list(zip(*both, strict=True))
    assert len(pairs) == 19
    for one, other in pairs:
        assert one.indices == other.indices
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
    start, other = add.network.encoder.state_dict(), control.network.encoder.state_dict()
    assert all(torch.equal(start[name], other[name]) for name in start)
    assert control.plan == add.plan


def test_controls_are_trained_side_inputs_add(digits_run: Path) -> None:
    run = Run(digits_run)
    assert list(run.controls()) == ["linear", "mlp"]
    for control in run.controls().values():
        manifest = control.manifest()
        assert manifest.plan == run.manifest().plan
        assert manifest.parameters["encoder"] == run.manifest().parameters["encoder"]
        assert manifest.scores["ema"]["top1"] > 20
        assert not (control.path / "controls").exists()


def test_a_recipe_of_a_control_trains_no_control(
    tmp_path: Path, trained: Callable[..., Path]
) -> None:
    path = trained(
        tmp_path / "run", "training.epochs=1", "denoiser.name=control", "denoiser.head=mlp"
    )
    assert Run(path).finished
    assert Run(path).controls() == {}
    assert not (path / "controls").exists()
