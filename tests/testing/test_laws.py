"""A component that breaks a law is told which one, and by how much."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from addkit.conditioners.tokens import MeanToken
from addkit.diffusion import Clean
from addkit.embeddings.posterior import PosteriorEmbedding
from addkit.errors import UsageError
from addkit.losses.cross_entropy import CrossEntropy
from addkit.plugin import (
    ConditionerSpec,
    Config,
    DenoiserSpec,
    EmbeddingSpec,
    EncoderSpec,
    LossSpec,
    Problem,
    ProcessSpec,
    ReadOutSpec,
    Registry,
    SamplerSpec,
    ScheduleSpec,
    TimestepsSpec,
    TokenizerSpec,
    ToOneSpec,
    hookimpl,
)
from addkit.plugin.spec import Spec
from addkit.processes.gaussian import GaussianProcess
from addkit.read_outs.by_token import Last
from addkit.samplers.renoise import Gibbs, Renoise
from addkit.testing import LawBrokenError, SkippedError, Verdict, check, check_package, trials
from addkit.tokenizers.settings import WordsConfig
from addkit.tokenizers.words import Words


def registry(*specs: Spec[Any, Any]) -> Registry:
    @hookimpl
    def addkit_components() -> Iterable[Spec[Any, Any]]:
        return specs

    return Registry.of([("my-plugin 0.3", SimpleNamespace(addkit_components=addkit_components))])


def verdict(kind: type[Any], build: Any, **spec: Any) -> Verdict:
    """Of a component that this builder gives, with what its Spec says."""
    settings = spec.pop("settings", {})
    own = {"config": Config, "summary": "Mine.", **spec}
    made = kind(name="mine", build=build, **own)
    return check(made.kind, "mine", registry(made), settings=settings)


class Schedule:
    scale = t_power = 1.0

    def alpha_bar(self, t: Tensor) -> Tensor:
        return 1 - t


class Rising(Schedule):
    def alpha_bar(self, t: Tensor) -> Tensor:
        return t


class TooMuch(Schedule):
    def alpha_bar(self, t: Tensor) -> Tensor:
        return 1.5 - 1.5 * t


class Seeded(Schedule):
    def alpha_bar(self, t: Tensor) -> Tensor:
        return (1 - t - 0.01 * torch.rand(())).clamp(0, 1)


def told(found: Verdict) -> dict[str, str]:
    """The part of each complaint behind the law's own sentence."""
    return {law: text.partition(" But ")[2] for law, text in found.broken.items()}


def test_a_sound_component_keeps_all() -> None:
    found = verdict(ScheduleSpec, lambda config, problem: Schedule())
    assert found.broken == {}
    assert found.data()["holds"]
    assert (found.kind, found.name, found.provider) == ("schedule", "mine", "my-plugin 0.3")


def test_a_schedule_that_rises() -> None:
    broken = told(verdict(ScheduleSpec, lambda config, problem: Rising()))
    assert broken["never_rises"].startswith("alpha_bar rises by 0.001 at t = ")
    assert broken["begins_clean_and_ends_in_noise"] == "alpha_bar is 0 at t = 0"


def test_a_schedule_outside_0_and_1() -> None:
    broken = told(verdict(ScheduleSpec, lambda config, problem: TooMuch()))
    assert broken == {"stays_between_0_and_1": "alpha_bar goes from 0 to 1.5"}


def test_global_random_numbers() -> None:
    broken = told(verdict(ScheduleSpec, lambda config, problem: Seeded()))
    assert broken["draws_from_its_generator_alone"] == "it drew global random numbers"
    assert "keeps_no_hidden_state" in broken


def test_a_builder_that_raises_is_told_once() -> None:
    given = verdict(ScheduleSpec, lambda config, problem: 1 / 0)
    broken = told(given)
    assert (list(broken), given.skipped) == (["builds_on_the_cpu"], "the other laws need it built")
    assert broken["builds_on_the_cpu"] == (
        'it failed: PluginError: schedule "mine" of my-plugin 0.3 cannot be built: '
        "ZeroDivisionError: division by zero"
    )


@pytest.mark.parametrize(
    ("summary", "text"),
    [
        (" ", "its summary is empty"),
        ("a\nb", "its summary has several lines"),
        ("x" * 101, "its summary has 101 characters, more than 100"),
    ],
)
def test_summaries(summary: str, text: str) -> None:
    found = verdict(ScheduleSpec, lambda config, problem: Schedule(), summary=summary)
    assert told(found) == {"has_a_summary_and_known_abilities": text}


class Wide(MeanToken):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens).squeeze(1)


class Mixed(MeanToken):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens - tokens.mean(0))


class Idle(MeanToken):
    def __init__(self, width: int | None, problem: Problem) -> None:
        super().__init__(width, problem)
        self.unused = nn.Linear(3, 3)


class Exploding(MeanToken):
    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = super().forward(tokens)
        return out + 0 * (out - out.detach()).abs().sqrt()


class Forgetful(MeanToken):
    """Its weights are no parameters, so that no checkpoint has them."""

    def __init__(self, width: int | None, problem: Problem) -> None:
        super().__init__(width, problem)
        self.hidden = torch.randn(problem.encoder_width)

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens * self.hidden)


@pytest.mark.parametrize(
    ("module", "law", "text"),
    [
        (Wide, "gives_a_condition", "the condition has shape (3, 8), not (3, 1, 8)"),
        (Mixed, "conditions_each_image_alone", "the first image alone: "),
        (Idle, "gradients_are_finite", "unused.weight gets no gradient; is it used at all?"),
        (Exploding, "gradients_are_finite", "24 of 24 gradients of project.0.weight are not"),
        (Forgetful, "survives_a_checkpoint", "after loading: "),
    ],
)
def test_a_conditioner(module: type[MeanToken], law: str, text: str) -> None:
    found = verdict(ConditionerSpec, lambda config, problem: module(8, problem))
    assert told(found)[law].startswith(text)


def test_an_ability_that_is_none() -> None:
    class Two(MeanToken):
        def __init__(self, width: int | None, problem: Problem) -> None:
            super().__init__(width, problem)
            self.num_tokens = 2

        def forward(self, tokens: Tensor) -> Tensor:
            return self.project(tokens[:, :2])

    found = verdict(
        ConditionerSpec,
        lambda config, problem: Two(8, problem),
        provides=frozenset({"one-token"}),
    )
    assert told(found) == {"has_one_token_if_it_provides_that": 'it provides "one-token" and has 2'}


def test_an_embedding_with_two_distributions() -> None:
    class Off(PosteriorEmbedding):
        def draw(self, labels: Tensor, alpha_bar: Tensor, generator: torch.Generator) -> Tensor:
            return super().draw(labels, alpha_bar * 0.9, generator)

    def build(config: Config, problem: Problem) -> Any:
        return Off(problem.num_classes, problem.state_width, 1.0, spread=0.5, largest=16)

    broken = told(verdict(EmbeddingSpec, build))
    # Clean labels are drawn with noise, on which the likelihood then depends.
    assert set(broken) == {"reads_what_it_draws", "leaves_likelihoods_exact"}
    assert (
        "standard errors from that of read(corrupt(...)), more than 5"
        in broken["reads_what_it_draws"]
    )


def test_an_encoder_that_looks_at_the_batch() -> None:
    class Encoder(nn.Module):
        width, num_tokens, num_prefix_tokens = 3, 1, 0

        def forward(self, images: Tensor) -> Tensor:
            return (images - images.mean(0)).mean((2, 3)).unsqueeze(1)

    broken = told(verdict(EncoderSpec, lambda config, problem: Encoder()))
    assert set(broken) == {"encodes_each_image_alone"}


class Denoiser(nn.Module):
    uses_state, bayes_skip, self_condition = True, False, 0.0

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.width = 8
        self.condition = nn.Linear(problem.condition_width, 8)

    def prepare(self, condition: Tensor) -> tuple[Tensor, ...]:
        return (self.condition(condition.mean(1))[:, None, None],)

    def forward(self, h: Tensor, t: Tensor, prepared: Any, layout: Any = None) -> Tensor:
        features: Tensor = h + prepared[0] + t.unsqueeze(-1)
        return features


class Sociable(Denoiser):
    def forward(self, h: Tensor, t: Tensor, prepared: Any, layout: Any = None) -> Tensor:
        return super().forward(h, t, prepared) + h.mean(1, keepdim=True)


class Blind(Denoiser):
    def forward(self, h: Tensor, t: Tensor, prepared: Any, layout: Any = None) -> Tensor:
        return super().forward(0 * h, t, prepared)


@pytest.mark.parametrize(
    ("module", "law"),
    [
        (Denoiser, ""),
        (Sociable, "copies_do_not_see_each_other"),
        (Blind, "reads_the_state_if_it_provides_that"),
    ],
)
def test_a_denoiser(module: type[Denoiser], law: str) -> None:
    found = verdict(
        DenoiserSpec,
        lambda config, problem: module(problem),
        provides=frozenset({"reads-state"}),
    )
    assert set(found.broken) == ({law} if law else set())


def test_a_denoiser_that_keeps_its_ability_to_itself() -> None:
    found = verdict(DenoiserSpec, lambda config, problem: Denoiser(problem))
    assert told(found)["reads_the_state_if_it_provides_that"] == (
        'uses_state is True, bayes_skip is False, and "reads-state" is not provided'
    )


def test_a_loss_that_wants_the_wrong_label() -> None:
    class Wrong(CrossEntropy):
        def __call__(self, *args: Any) -> Tensor:
            return -super().__call__(*args)

        def logits(self, outputs: Tensor, y_t: Tensor | None, alpha_bar: Tensor) -> Tensor:
            return outputs / 0

    broken = told(verdict(LossSpec, lambda config, problem: Wrong(0.0)))
    assert broken["is_least_at_the_truth"].startswith("in 6 of 6 rows the truth costs no less: ")
    assert broken["ranks_the_label_first"] == "42 of 42 values of the logits are not finite"


def test_a_to_one_that_picks_what_is_ruled_out() -> None:
    class Least:
        def __call__(self, logits: Tensor, generator: torch.Generator) -> Clean:
            return Clean(logits.argmin(-1))

    broken = told(verdict(ToOneSpec, lambda config, problem: Least()))
    assert broken == {"follows_what_is_sure": "6 of 6 sure labels became another"}


def test_a_sampler_that_forgets_what_is_given() -> None:
    class Forgetful(Renoise):
        def sample(self, chain: Any) -> Any:
            settings = replace(chain.settings, given_labels=None)
            return super().sample(replace(chain, settings=settings))

    found = verdict(
        SamplerSpec, lambda config, problem: Forgetful(), provides=frozenset({"shared-time"})
    )
    assert "given labels became another" in told(found)["keeps_given_labels"]


def test_a_sampler_that_draws_and_does_not_say_so() -> None:
    found = verdict(
        SamplerSpec, lambda config, problem: Gibbs(), provides=frozenset({"shared-time"})
    )
    assert told(found) == {"draws_labels_by_itself": "the to-one operator was called 0 times"}


def test_a_read_out_whose_probabilities_are_none() -> None:
    class Doubled(Last):
        def probabilities(self, end: Any) -> Tensor:
            return 2 * end.mean

    broken = told(verdict(ReadOutSpec, lambda config, problem: Doubled()))
    assert broken["gives_probabilities"].startswith("the sum of probabilities and 1: 1 apart")


def test_a_process_whose_likelihood_is_none() -> None:
    class Off(GaussianProcess):
        def likelihood(self, *args: Any) -> Tensor:
            return super().likelihood(*args) + 0.5

    broken = told(verdict(ProcessSpec, lambda config, problem: Off()))
    assert broken == {"has_a_likelihood": "they sum to 1.64872"}


def test_times_that_fall() -> None:
    class Falling(nn.Module):
        def forward(self, u: Tensor) -> Tensor:
            return u + 0.5 * (9 * u).sin() * u * (1 - u)

        def learn(self, t: Tensor, losses: Tensor, weights: Tensor) -> None: ...

    broken = told(verdict(TimestepsSpec, lambda config, problem: Falling()))
    assert broken["maps_0_to_0_and_1_to_1"].startswith("at the start t falls by ")


def test_a_tokenizer_that_forgets() -> None:
    class Restless(Words):
        def restore(self, tokens: Any) -> Any:
            return super().restore([*tokens[:2], *tokens[:1:-1]])

    def build(config: Config, problem: Problem) -> Any:
        return Restless(WordsConfig.model_validate({}))

    assert set(verdict(TokenizerSpec, build).broken) == {"restores_a_vocabulary"}


class Needy(Config):
    file: str
    share: float = Field(0.5, gt=0)


def test_settings_that_must_be_given_are_asked_for() -> None:
    found = verdict(ScheduleSpec, lambda config, problem: Schedule(), config=Needy)
    assert found.broken == {}
    assert found.skipped == "needs settings: file"
    given = verdict(
        ScheduleSpec, lambda config, problem: Schedule(), config=Needy, settings={"file": "x"}
    )
    assert given.skipped == ""
    wrong = verdict(
        ScheduleSpec,
        lambda config, problem: Schedule(),
        config=Needy,
        settings={"file": "x", "share": 0},
    )
    assert told(wrong)["builds_on_the_cpu"].startswith("its settings are refused: ")


def test_a_trial_says_the_law() -> None:
    spec = ScheduleSpec(
        name="mine", config=Config, build=lambda config, problem: Rising(), summary="Mine."
    )
    (trial,) = (one for one in trials("schedule", "mine", registry(spec)) if "rises" in str(one))
    with pytest.raises(LawBrokenError) as caught:
        trial()
    assert str(caught.value).startswith(
        'schedule "mine": More t is more noise: alpha_bar never rises. But alpha_bar rises by 0.001'
    )
    assert trial.statement == "More t is more noise: alpha_bar never rises."
    every = {trial.name: trial for trial in trials("schedule", "mine", registry(spec))}
    gradients = every["gradients_are_finite"]
    with pytest.raises(SkippedError, match="is no module with weights"):
        gradients()


def test_a_package_without_components() -> None:
    with pytest.raises(UsageError, match="no third party's plugin is installed"):
        check_package(Registry.of([]))
    with pytest.raises(UsageError, match='no package "x" has components'):
        check_package(Registry.of([]), "x")
