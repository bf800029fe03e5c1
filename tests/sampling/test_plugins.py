"""A sampler and a loss in one file each, under every process, from the recipe to the answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from addkit.diffusion import ObjectiveSettings, objective
from addkit.errors import RecipeError, UsageError
from addkit.model import Predictor, build_data, build_network
from addkit.recipe import Recipe, read_recipe

CORRECTED = '''
from dataclasses import replace

from addkit.plugin import Config, SamplerSpec, hookimpl


def build(config, problem):
    from addkit.samplers.renoise import Renoise

    class Corrected(Renoise):
        """A predictor step, then a corrector step at the same time."""

        calls = []

        def step(self, chain, now, logits, clean, s, done):
            self.calls.append(chain.shape)
            predicted = super().step(chain, now, logits, clean, s, done)
            corrected = self.clean(chain, chain.predict(predicted))
            alpha_bar = chain.model.schedule.alpha_bar(s)
            return replace(predicted, state=chain.noise(corrected, alpha_bar))

    build.calls = Corrected.calls
    return Corrected()


@hookimpl
def addkit_components():
    yield SamplerSpec(
        name="corrected", config=Config, build=build, summary="Mine.",
        provides=frozenset({"shared-time"}),
    )
'''
FOCAL = '''
from addkit.plugin import Config, LossSpec, hookimpl


def build(config, problem):
    from addkit.losses.cross_entropy import CrossEntropy

    class Focal(CrossEntropy):
        """(1 - p)^2 times the cross-entropy."""

        def __call__(self, outputs, labels, alpha_bar, noise):
            build.calls += 1
            losses = super().__call__(outputs, labels, alpha_bar, noise)
            return (1 - (-losses).exp()).square() * losses

    return Focal(0.0)


build.calls = 0


@hookimpl
def addkit_components():
    yield LossSpec(name="focal", config=Config, build=build, summary="Mine.")
'''
SMALL = ("denoiser.width=16", "denoiser.heads=2", "denoiser.depth=1", "denoiser.bayes_skip=false")
PROCESSES = {
    "gaussian": ("sampler.name=renoise",),
    "masked": ("process.name=masked", "sampler.name=maskgit"),
    "blocks": (
        "process.name=blocks",
        "process.block=2",
        "sampler.name=renoise",
        "read_out.name=last",
    ),
    "autoregressive": ("process.name=autoregressive", "sampler.name=left-to-right"),
}


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    files = [tmp_path / "corrected_plugin.py", tmp_path / "focal_plugin.py"]
    for file, code in zip(files, (CORRECTED, FOCAL), strict=True):
        file.write_text(code)
    monkeypatch.setenv("ADDKIT_PLUGIN_FILES", ":".join(map(str, files)))
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _recipe(process: str, *changes: str) -> Recipe:
    return read_recipe(Path("attributes"), [*SMALL, *PROCESSES[process], *changes])


def _predictor(recipe: Recipe) -> Predictor:
    facts = build_data(recipe).facts
    return Predictor(build_network(recipe, facts), recipe, facts)


def _images(predictor: Predictor) -> torch.Tensor:
    facts = predictor.facts
    return torch.zeros(2, facts.image_channels, facts.image_size, facts.image_size)


@pytest.mark.parametrize("process", ["gaussian", "blocks"])
def test_a_predictor_corrector_steps_and_the_answer_names_it(plugins, process: str) -> None:
    predictor = _predictor(_recipe(process, "sampler.name=corrected"))
    answers = predictor.predict(_images(predictor), steps=3, chains=2, read_out="last")
    calls = _build_of(predictor.recipe, "sampler").calls
    tokens = predictor.facts.num_tokens
    blocks = -(-tokens // 2) if process == "blocks" else 1
    assert len(calls) == 2 * blocks
    for answer in answers:
        made = answer.inference
        assert (made.sampler, made.to_one, made.steps, made.chains) == (
            "corrected",
            "argmax",
            3,
            2,
        )


def _build_of(recipe: Recipe, kind: str) -> Any:
    """The plugin's own function, which counts its calls."""
    return recipe.choices[kind].spec.build.spec.build


@pytest.mark.parametrize(
    ("process", "ability"), [("masked", "ordered"), ("autoregressive", "left-to-right")]
)
def test_a_sampler_that_cannot_walk_is_refused_by_an_ability(
    plugins, process: str, ability: str
) -> None:
    with pytest.raises(RecipeError, match=rf'"corrected".*"{process}".*{ability}'):
        _recipe(process, "sampler.name=corrected")
    predictor = _predictor(_recipe(process))
    with pytest.raises(UsageError, match=rf'"corrected".*"{process}".*{ability}'):
        predictor.predict(_images(predictor), sampler="corrected")


@pytest.mark.parametrize("process", PROCESSES)
def test_a_focal_loss_trains_under_every_process(plugins, process: str) -> None:
    recipe = _recipe(process, "loss.name=focal")
    predictor = _predictor(recipe)
    network, build = predictor.network, _build_of(recipe, "loss")
    before = build.calls
    labels = torch.tensor([[start for start, _ in predictor.facts.token_classes]] * 2)
    targets = predictor.task.targets(labels.unsqueeze(1).expand(-1, 4, -1))
    tokens = network.tokens(_images(predictor))
    value = objective(network.diffusion, tokens, targets, ObjectiveSettings(), generator())
    value.loss.backward()
    assert build.calls == before + 1
    assert network.diffusion.output.weight.grad.any()
    answer, _ = predictor.predict(_images(predictor), steps=2, read_out="last")
    assert answer.inference.sampler == recipe.choices["sampler"].name


@pytest.mark.parametrize("name", ["renoise", "ddim", "ancestral", "gibbs", "refine", "maskgit"])
@pytest.mark.parametrize("process", ["gaussian", "blocks", "masked", "autoregressive"])
def test_built_in_samplers_walk_or_are_refused(name: str, process: str) -> None:
    walks = process in ("gaussian", "blocks") or (process, name) == ("masked", "maskgit")
    change = f"sampler.name={name}"
    if not walks:
        with pytest.raises(RecipeError, match=f'"{name}" cannot walk'):
            _recipe(process, change)
        return
    predictor = _predictor(_recipe(process, change))
    answer = predictor.predict(_images(predictor), steps=2, read_out="last")[0]
    assert answer.inference.sampler == name
    assert answer.inference.to_one == ("sample" if name == "gibbs" else "argmax")


@pytest.mark.parametrize("process", PROCESSES)
def test_the_mean_over_steps_is_a_distribution(process: str) -> None:
    """Also where a sampler yields fewer steps than it takes."""
    predictor = _predictor(_recipe(process))
    inference = predictor.inference.replace(read_out="mean", steps=3)
    with torch.inference_mode():
        condition = predictor.network.condition(_images(predictor))
        answer = inference.answer(predictor.network.diffusion, condition, generator())
    total = answer.probabilities.sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))
