"""Predictions: what `predict` returns for one image.

`data()` is the JSON of `addkit sample`, `rows()` and `how_made()` are its table and the line below.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

from addkit.notebook import bars, card, muted, shades

if TYPE_CHECKING:
    from addkit.data.shown import ShownPicture
    from addkit.plugin.values import Answer, InferenceSettings

JsonObject: TypeAlias = dict[str, Any]
"""A prediction as `sample --json` prints it."""


MOST_STEPS = 24
"""Steps of a trace that a notebook shows, the first and the last among them."""
MOST_LABELS = 6
"""Labels of a trace that a notebook shows."""
LEAST = 0.01
"""Probability that such a label reaches at some step."""


class TracedStep(NamedTuple):
    """What the network predicted at one step of a chain."""

    t: float
    """Time of the step, from 1 (pure noise) down."""
    prediction: Any
    """Of the kind of the answer itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The settings that made a prediction; base of every prediction."""

    inference: InferenceSettings | None = None
    """Settings that made the probabilities."""
    votes_inference: InferenceSettings | None = None
    """Settings that made the votes, where chains ran in addition to a one-pass read-out."""
    votes_steps: int | None = None
    """Denoising steps of those chains."""
    trace: tuple[TracedStep, ...] = field(default=(), compare=False, repr=False)
    """The steps of the first chain, if `predict` was asked for them."""
    picture: ShownPicture | None = field(default=None, compare=False, repr=False)
    """The picture, for a notebook's view."""

    def _card(self, bars: str, steps: int) -> str:
        """The picture, the answer's bars and the steps of the chain if there is a trace."""
        picture, name = "", ""
        if self.picture is not None:
            picture, name = self.picture.html(), muted(PurePath(self.picture.name).name)
        return card(picture, name, bars, muted(self.how_made(steps)), self._steps())

    def _steps(self) -> str:
        """The trace in HTML: the probability of each label by step, or the texts of the steps."""
        if not self.trace:
            return ""
        shown = self.trace
        if len(shown) > MOST_STEPS:
            last = len(shown) - 1
            shown = tuple(shown[i * last // (MOST_STEPS - 1)] for i in range(MOST_STEPS))
        heading = muted(f"first chain, {len(self.trace)} steps from t = 1 to t = {shown[-1].t:.2f}")
        if not isinstance(self, Prediction):
            # Steps with one answer are one line; numbered from 1.
            numbered = enumerate((step.prediction.summary for step in self.trace), 1)
            lines = []
            for text, same in groupby(numbered, lambda pair: pair[1]):
                first, *_, last = [number for number, _ in same] * 2
                of = f"step {first}" if first == last else f"steps {first} to {last}"
                lines.append(((of, text), None, ()))
            return heading + bars(lines)
        # By label: its probability at each step, 0 where the step does not list it.
        steps = [
            {score.name: score.probability for score in each.prediction.labels} for each in shown
        ]
        names = dict.fromkeys(name for step in steps for name in step)
        shares = {name: [step.get(name, 0.0) for step in steps] for name in names}
        # The answer, how this chain ends, then the others by their largest probability.
        ends = (self.labels[0].name, self.trace[-1].prediction.labels[0].name)
        order = sorted(shares, key=lambda name: (name not in ends, -max(shares[name])))
        rows = [(name, shares[name]) for name in order if max(shares[name]) >= LEAST]
        return heading + shades(rows[:MOST_LABELS], [f"t = {step.t:.2f}" for step in shown])

    def made_by(self, answer: Answer, image: int) -> Self:
        """A copy with the settings behind one image of an answer."""
        steps = answer.votes_steps
        return replace(
            self,
            inference=answer.inference,
            votes_inference=answer.votes_inference,
            votes_steps=None if steps is None else int(steps[image]),
        )

    def _evidence(self) -> str:
        """How soft evidence was taken in; empty where there was none."""
        match None if self.inference is None else self.inference.evidence:
            case "state":
                return "; soft evidence read as noisy labels"
            case "bias":
                return "; soft evidence added to logits"
        return ""

    @property
    def chain(self) -> InferenceSettings | None:
        """The settings of the chains that voted; None where one pass made everything."""
        settings = self.votes_inference or self.inference
        return None if settings is None or settings.one_pass else settings

    def settings(self) -> JsonObject:
        """The settings as JSON: those of the answer, and under `votes_by` those of the votes.

        Sampler and to-one are None where one pass made the answer, and `votes_by` is None where the
        chains of the read-out vote.
        """
        if self.inference is None:
            return {}
        votes = None
        if self.votes_inference is not None:
            votes = {"steps": self.votes_steps, **_settings(self.votes_inference)}
        return {**_settings(self.inference), "votes_by": votes}

    def how_made(self, steps: int) -> str:
        """One line on the origin of probabilities and votes.

        Args:
            steps: of the answer.
        """
        if self.inference is None:
            return ""
        chain, read_out = self.chain, self.inference.read_out
        loop = ""
        if chain is not None:
            plural = "s" if chain.chains > 1 else ""
            steps = steps if self.votes_steps is None else self.votes_steps
            loop = f"{chain.chains} chain{plural} of {steps} steps"
            loop += f" ({chain.sampler}, {chain.to_one}, w {chain.guidance:g})"
        # A read-out of chains makes both numbers; a one-pass read-out makes the probability alone.
        if not self.inference.one_pass:
            return f"probability: read-out {read_out} of {loop}{self._evidence()}"
        first = f"probability: read-out {read_out}, one pass at t = T"
        return f"{first}; votes: {loop}" if loop else first


def _settings(used: InferenceSettings) -> JsonObject:
    return {
        "read_out": used.read_out,
        "guidance": used.guidance,
        "chains": used.chains,
        "sampler": used.sampler,
        "to_one": used.to_one,
        "evidence": used.evidence,
    }


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One class with its probability and votes."""

    name: str
    index: int
    probability: float
    """Given by the read-out, in [0, 1]."""
    votes: float
    """Share of chains that end at this class, in [0, 1]."""

    def data(self) -> JsonObject:
        """As JSON."""
        return {"name": self.name, "probability": self.probability, "votes": self.votes}


@dataclass(frozen=True, slots=True)
class Prediction(Made):
    """The answer for one image: classes, the most probable first."""

    labels: tuple[LabelScore, ...]
    steps: int
    """Denoising steps of the answer: 1 for a read-out of one pass."""

    @property
    def summary(self) -> str:
        """The name of the most probable class."""
        return self.labels[0].name

    def _repr_html_(self) -> str:
        """The picture, labels with bars, and the chain, for notebooks."""
        votes = self.chain is not None
        labels = bars(
            (
                (score.name,),
                score.probability,
                (
                    _of_hundred(score.probability),
                    *([f"votes {100 * score.votes:.0f} %"] if votes else []),
                ),
            )
            for score in self.labels
        )
        return self._card(labels, self.steps)

    @property
    def label(self) -> LabelScore:
        """The most probable class."""
        return self.labels[0]

    def data(self) -> JsonObject:
        """As JSON."""
        labels = [label.data() for label in self.labels]
        return {"labels": labels, "steps": self.steps, **self.settings()}

    def rows(self) -> list[tuple[str, ...]]:
        """Class, probability and votes."""
        return [(s.name, f"{100 * s.probability:.2f}", f"{100 * s.votes:.0f}") for s in self.labels]


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a caption."""

    text: str
    probability: float
    """Given by its own chain, in [0, 1]; 1 for a token that the user gave."""


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption of an image."""

    text: str
    tokens: tuple[Token, ...]
    """Without pads."""
    score: float
    """The read-out ranks by it: agreement with the other chains, or log p."""
    probability: float
    """Of the whole caption, in [0, 1]: the product of its tokens' probabilities and that of its
    end, which is a token too, or of its length where a length head chose it."""


@dataclass(frozen=True, slots=True)
class CaptionPrediction(Made):
    """The answer for one image: captions, the best first."""

    captions: tuple[Caption, ...]
    steps: int

    @property
    def summary(self) -> str:
        """The best caption."""
        return self.text or "(no words)"

    def _repr_html_(self) -> str:
        """The picture, captions with bars, and the chain, for notebooks."""
        captions = bars(
            (
                (caption.text or "(no words)",),
                caption.probability,
                (_of_hundred(caption.probability),),
            )
            for caption in self.captions
        )
        return self._card(captions, self.steps)

    @property
    def text(self) -> str:
        """The best caption."""
        return self.captions[0].text

    def data(self) -> JsonObject:
        """As JSON."""
        captions = [asdict(caption) for caption in self.captions]
        return {"captions": captions, "steps": self.steps, **self.settings()}

    def rows(self) -> list[tuple[str, ...]]:
        """Caption, its probability and that of each token in percent, and score."""
        return [
            (
                c.text or "(no words)",
                f"{100 * c.probability:.2f}",
                # One number for each token, in the order of the words.
                " ".join(f"{100 * t.probability:.0f}" for t in c.tokens),
                f"{c.score:.3f}",
            )
            for c in self.captions
        ]


@dataclass(frozen=True, slots=True)
class JointAnswer:
    """One value for each attribute."""

    values: dict[str, str]
    probability: float | None
    """p(values | image), from left to right; under soft evidence of the sampler that took it in, of
    a search relative to the answers that it found. None where it was not computed."""
    votes: float
    """Share of the chains that end at this answer, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class JointPrediction(Made):
    """The answer for one image with several attributes."""

    answers: tuple[JointAnswer, ...]
    """Different ones, the best first."""
    marginals: dict[str, tuple[LabelScore, ...]]
    """Marginals of each attribute, the most probable value first."""
    steps: int

    @property
    def summary(self) -> str:
        """The values of the best joint answer."""
        return ", ".join(self.values.values())

    def _repr_html_(self) -> str:
        """The picture, values with the bars of their marginals, and the chain, for notebooks."""
        rows = []
        for name, value in self.values.items():
            # The best joint answer need not have the most probable value of each attribute.
            shares = [score.probability for score in self.marginals[name] if score.name == value]
            share = shares[0] if shares else None
            rows.append(((name, value), share, (_of_hundred(share),)))
        joint = self.answers[0].probability
        whole = "" if joint is None else f"all together: {_of_hundred(joint)}"
        return self._card(f"{bars(rows)}<div>{muted(whole)}</div>", self.steps)

    @property
    def values(self) -> dict[str, str]:
        """The best joint answer."""
        return self.answers[0].values

    def data(self) -> JsonObject:
        """As JSON."""
        marginals = {name: [s.data() for s in scores] for name, scores in self.marginals.items()}
        answers = [asdict(answer) for answer in self.answers]
        joint = {"answers": answers, "marginals": marginals}
        return {**joint, "steps": self.steps, **self.settings()}

    def rows(self) -> list[tuple[str, ...]]:
        """A row for each joint answer, then one for each value of each attribute's marginals."""
        # Both kinds of row have four cells, the task's `columns`.
        joint: list[tuple[str, ...]] = [
            ("joint", ", ".join(a.values.values()), _percent(a.probability), f"{100 * a.votes:.0f}")
            for a in self.answers
        ]
        alone: list[tuple[str, ...]] = [
            (name if rank == 0 else "", s.name, _percent(s.probability), f"{100 * s.votes:.0f}")
            for name, scores in self.marginals.items()
            for rank, s in enumerate(scores)
        ]
        return joint + alone


@dataclass(frozen=True, slots=True)
class TagSet:
    """The tags of one image together."""

    tags: tuple[str, ...]
    """Present ones, in the order of the run's tags."""
    probability: float | None
    """p(just these tags | image), from left to right; None where it was not computed."""
    votes: float
    """Share of the chains that end at this set, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class TagScore:
    """One tag with its probability."""

    name: str
    present: bool
    """True if the answer has it."""
    probability: float
    """Given by the read-out, in [0, 1]."""
    votes: float
    """Share of chains that end with the tag, in [0, 1]."""
    threshold: float | None
    """Probability from which it has the best F1 on the validation split; None if not chosen."""


@dataclass(frozen=True, slots=True)
class TagPrediction(Made):
    """The answer for one image with tags."""

    answers: tuple[TagSet, ...]
    """Different ones, the best first."""
    scores: tuple[TagScore, ...]
    """Every tag: those of the answer first, then the most probable ones."""
    steps: int
    top: int = 5
    """Absent tags that a table lists."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the best answer, the most probable one first."""
        return tuple(score.name for score in self.scores if score.present)

    @property
    def summary(self) -> str:
        """The tags of the best answer."""
        return ", ".join(self.tags) or "(no tag)"

    @property
    def values(self) -> dict[str, str]:
        """Each tag and whether the answer has it, as `given` takes them."""
        return {score.name: "yes" if score.present else "no" for score in self.scores}

    @property
    def listed(self) -> tuple[TagScore, ...]:
        """The tags of the answer, and the `top` most probable others."""
        return self.scores[: len(self.tags) + self.top]

    def _repr_html_(self) -> str:
        """The picture, tags with the bars of their probabilities, and the chain, for notebooks."""
        rows = [
            ((s.name, self.values[s.name]), s.probability, (_of_hundred(s.probability),))
            for s in self.listed
        ]
        joint = self.answers[0].probability
        whole = "" if joint is None else f"all together: {_of_hundred(joint)}"
        return self._card(f"{bars(rows)}<div>{muted(whole)}</div>", self.steps)

    def data(self) -> JsonObject:
        """As JSON."""
        answers = [asdict(answer) for answer in self.answers]
        tags = [asdict(score) for score in self.scores]
        return {"answers": answers, "tags": tags, "steps": self.steps, **self.settings()}

    def rows(self) -> list[tuple[str, ...]]:
        """A row for each tag of the answer and the most probable others; then the sets."""
        rows: list[tuple[str, ...]] = [
            (score.name, self.values[score.name], _percent(score.probability), _votes(score.votes))
            for score in self.listed
        ]
        return rows + [
            (
                "together",
                ", ".join(answer.tags) or "(no tag)",
                _percent(answer.probability),
                _votes(answer.votes),
            )
            for answer in self.answers
        ]


def _votes(share: float) -> str:
    return f"{100 * share:.0f}"


def _percent(probability: float | None) -> str:
    return "-" if probability is None else f"{100 * probability:.2f}"


def _of_hundred(probability: float | None) -> str:
    return "" if probability is None else f"{100 * probability:.1f} %"
