"""Typed results of an evaluation, and the one table of scores: titles, units, digits.

This file decides what `addkit evaluate` reports and stores in evaluation.json; `cli/evaluate.py`
prints it. Neither torch nor matplotlib is imported here, so that `addkit runs list` stays quick.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from addkit.errors import RunError, UsageError
from addkit.notebook import table
from addkit.terminal import addkit_command

if TYPE_CHECKING:
    from pandas import DataFrame

    from addkit.metrics.statistics import Verdict
    from addkit.metrics.uncertainty import Bin
    from addkit.plugin.values import InferenceSettings

Unit = Literal["", "%", "nats", "steps"]
Z = 1.96
"""Standard deviations of a two-sided 95 % interval of a normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Title, unit and digits of a score, in every command, table and figure."""

    name: str
    """The field of the task's scores, and the key in JSON."""
    title: str
    short_title: str = ""
    """Title in a terminal's narrow tables; empty: the title."""
    unit: Unit = ""
    """Unit of the printed value."""
    stored_as_share: bool = False
    """True if JSON has a share in [0, 1], which is printed in percent."""
    digits: int = 4
    """Decimal places."""
    meaning: str = ""
    """Explanation under a terminal's table, where the title alone is not clear."""
    optional: int = 0
    """Rank in which a table that is wider than its terminal leaves out the column, 1 first; 0:
    never.
    """
    lower_is_better: bool = False
    over_images: bool = False
    """A share of images, each of them right or wrong: it has a binomial interval."""

    @classmethod
    def named(cls, name: str) -> Score:
        """The score of this name; of a plugin's task with the name as its title, and no unit."""
        # A plugin's task may return any names: they are printed as stored, with a readable title.
        return _SCORES.get(name) or cls(name=name, title=name.replace("_", " "))

    @property
    def heading(self) -> str:
        """Title and unit: `exact match, %`."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def short_heading(self) -> str:
        """The same for narrow tables, where only percent is named: `exact %`."""
        title = self.short_title or self.title
        return f"{title} %" if self.unit == "%" else title

    def axis(self, split: str) -> str:
        """The heading of an axis: which images it is about, too."""
        return f"{self.heading} ({split} split)"

    def in_unit(self, value: float) -> float:
        """A stored value, or a difference of stored values, in the printed unit."""
        return 100 * value if self.stored_as_share else value

    def text(self, value: float | None, sign: Literal["", "+"] = "") -> str:
        """A table's cell for a stored value; a dash for None.

        Args:
            value: as stored.
            sign: `+` for differences.
        """
        if value is None:
            return "-"
        # Counts are the only scores that are stored as integers: commas, no digits.
        if isinstance(value, int):
            return f"{value:{sign},}"
        return f"{self.in_unit(value):{sign}.{self.digits}f}"

    def interval(self, value: float | None, count: int | None) -> tuple[float, float] | None:
        """95 % interval over images, in the printed unit; None for all but shares of images."""
        if not self.over_images or value is None or not count:
            return None
        # The stored value is a share for some scores and percent for others (top-1, ECE).
        low, high = wilson(value if self.stored_as_share else value / 100, count)
        return 100 * low, 100 * high

    def one_image(self, count: int) -> float:
        """Change of the stored value when one more of `count` images is right."""
        return (100.0 if self.unit == "%" and not self.stored_as_share else 1.0) / count


def _share(
    name: str, title: str, short: str = "", meaning: str = "", images: bool = False
) -> Score:
    return Score(
        name=name,
        title=title,
        short_title=short,
        unit="%",
        stored_as_share=True,
        digits=2,
        meaning=meaning,
        over_images=images,
    )


SCORES = (
    Score(name="top1", title="top-1", unit="%", digits=2, over_images=True),
    Score(name="top5", title="top-5", unit="%", digits=2, over_images=True, optional=2),
    Score(
        name="subset_accuracy",
        title="subset accuracy",
        short_title="subset",
        unit="%",
        digits=2,
        meaning="images whose tags are all right",
        over_images=True,
    ),
    Score(name="mean_ap", title="mAP", unit="%", digits=2),
    Score(name="micro_f1", title="micro F1", unit="%", digits=2, optional=6),
    Score(
        name="micro_f1_tuned",
        title="micro F1, tuned",
        short_title="micro F1*",
        unit="%",
        digits=2,
        optional=8,
    ),
    Score(
        name="macro_f1_tuned",
        title="macro F1, tuned",
        short_title="F1*",
        unit="%",
        digits=2,
        meaning="with thresholds chosen on the validation split",
        optional=7,
    ),
    Score(name="hamming", title="Hamming loss", short_title="Hamming", unit="%", digits=2),
    Score(
        name="balanced",
        title="balanced accuracy",
        short_title="balanced",
        unit="%",
        digits=2,
        meaning="mean over classes of the share of their images that is right",
    ),
    Score(name="macro_f1", title="macro F1", short_title="F1", unit="%", digits=2, optional=3),
    Score(name="nll", title="NLL", unit="nats", optional=5, lower_is_better=True),
    Score(name="brier", title="Brier", optional=1, lower_is_better=True),
    Score(name="ece", title="ECE", unit="%", digits=2, optional=4, lower_is_better=True),
    Score(name="count", title="images", digits=0),
    _share("exact_match", "exact match", "exact", "answers that are right as a whole", True),
    _share("token_accuracy", "tokens right", "tokens", "labels that are right"),
    _share(
        "token_balanced",
        "tokens right, balanced",
        "by value",
        "mean over values of the share of their labels that is right",
    ),
    Score(
        name="label_nll",
        title="NLL of a label",
        short_title="label NLL",
        unit="nats",
        lower_is_better=True,
        meaning="-log of a label's own probability, mean over labels",
    ),
    _share("consistency", "consistent", "", "answers whose labels occur together in training"),
    *(
        Score(name=f"bleu{n}", title=f"BLEU-{n}", short_title=f"B-{n}", digits=3)
        for n in range(1, 5)
    ),
    Score(name="meteor", title="METEOR", digits=3),
    Score(name="rouge_l", title="ROUGE-L", digits=3),
    Score(name="cider_d", title="CIDEr-D", digits=3),
    Score(
        name="distinct1",
        title="distinct-1",
        short_title="dist-1",
        digits=3,
        meaning="different words over all words, dist-2 the same of pairs",
    ),
    Score(name="distinct2", title="distinct-2", short_title="dist-2", digits=3),
    Score(
        name="perplexity",
        title="perplexity",
        short_title="PPL",
        digits=2,
        lower_is_better=True,
        meaning="exp of the mean -log p of a token of the true captions, ends included",
    ),
    _share("repeats", "repeats", "", "captions with a word twice in a row"),
    _share("length_accuracy", "length right", "length", "captions as long as a reference"),
    _share("valid", "valid", "", "chains whose caption is a reference"),
    _share("any_valid", "any chain valid", "any", "images with a valid chain"),
    _share("coverage", "coverage", "", "references that the chains reach"),
    Score(name="clip_cosine", title="CLIP cosine", short_title="CLIP"),
    Score(name="clip_score", title="CLIP-S"),
    Score(name="ref_clip_score", title="RefCLIP-S"),
    _share("share", "share", "", "of the way from shuffled to true captions, by cosine"),
    Score(name="aurc", title="AURC", unit="%", digits=2),
    Score(name="risk80", title="risk at 80 %", short_title="risk80", unit="%", digits=2),
    Score(name="set_size", title="set size", short_title="set", digits=2),
    Score(name="set_coverage", title="set coverage", short_title="in set", unit="%", digits=2),
    Score(name="mean_steps", title="steps", digits=2),
    _share("saved", "steps saved", "saved"),
)
"""Every score of addkit's own tasks, in the order of their tables."""

_SCORES = {score.name: score for score in SCORES}

Scores = Mapping[str, float | None]
"""Name of a score -> stored value; None where it cannot be computed here."""


def present(rows: Iterable[Scores]) -> list[Score]:
    """The scores that at least one row has a value for, in order of appearance."""
    # A dict as an ordered set: rows may have different scores.
    names = {name: None for row in rows for name, value in row.items() if value is not None}
    return [Score.named(name) for name in names]


def left_out(scores: Iterable[Score]) -> list[str]:
    """Short headings of the columns that a narrow table leaves out, the first one first."""
    optional = sorted((s for s in scores if s.optional), key=lambda score: score.optional)
    return [score.short_heading for score in optional]


def legend(scores: Iterable[Score]) -> str:
    """One line that explains the scores whose title is not enough; empty if there is none."""
    parts = [f"{score.short_heading}: {score.meaning}" for score in scores if score.meaning]
    return "; ".join(parts)


NAMES_SHOWN = 5
"""Classes that a warning names."""


def never_predicted_line(model_name: str, split: str, names: Sequence[str]) -> str:
    """The warning of classes that no answer has: how many, and the first of their names."""
    more = len(names) - NAMES_SHOWN
    return (
        f"{model_name} never predicts {len(names)} {'class' if len(names) == 1 else 'classes'} of "
        f"the {split} split: {', '.join(names[:NAMES_SHOWN])}"
        f"{f' and {more} more' if more > 0 else ''}"
    )


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a binomial share (Wilson 1927).

    Args:
        share: in [0, 1].
        count: trials, at least 1.
    """
    shrink = 1 + Z**2 / count
    # Wilson's interval, not share +- z s: it stays within [0, 1] and has a width at 0 and at 1.
    centre = (share + Z**2 / (2 * count)) / shrink
    half = Z / shrink * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    # Rounding must not leave the share outside.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


SETTINGS = (
    "read_out",
    "sampler",
    "to_one",
    "steps",
    "guidance",
    "chains",
    "early_exit",
    "evidence",
)
"""Fields of `InferenceSettings`, which share a flat JSON object with the scores."""
SETTING_HEADINGS = ("read-out", "sampler", "to-one", "steps", "w", "chains")


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """Scores of one model under one setting."""

    model_name: str
    """`Run.model_name`."""
    setting: InferenceSettings
    scores: Scores
    never_predicted: tuple[str, ...] = ()
    """Names of the classes that images of the split have and no answer has."""

    def data(self) -> dict[str, Any]:
        """One flat JSON object."""
        never = {"never_predicted": list(self.never_predicted)}
        return {"model_name": self.model_name, **asdict(self.setting), **self.scores, **never}

    @classmethod
    def from_data(cls, stored: Mapping[str, Any]) -> ScoreRow:
        """The inverse of `data`."""
        from addkit.plugin.values import InferenceSettings  # Imports torch.

        setting = InferenceSettings(**{name: stored[name] for name in SETTINGS if name in stored})
        # What is neither the model nor a setting is a score: a plugin's names are not known here.
        others = (*SETTINGS, "model_name", "never_predicted")
        scores = {name: value for name, value in stored.items() if name not in others}
        return cls(stored["model_name"], setting, scores, tuple(stored["never_predicted"]))

    def setting_cells(self) -> list[str]:
        """A text for each of `SETTING_HEADINGS`."""
        used = self.setting
        steps = "one pass" if used.one_pass else str(used.steps)
        # One pass takes no sampler's step and makes no one-hot label.
        texts = [used.read_out, used.sampler or "-", used.to_one or "-", steps]
        return [*texts, f"{used.guidance:g}", str(used.chains)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Images right, in percent, by the recipe's chain under five conditions, and what follows."""

    first_step: float
    """At t = T alone: one step from noise."""
    last_step: float
    """After the last step of the loop."""
    shuffled_state: float
    """The loop with y_t shuffled between images."""
    no_image: float
    """The loop with the null condition."""
    control: float | None
    """The matched classifier; None where none was trained."""
    steps: int
    """Steps of the loop."""
    uses_state: bool
    uses_state_points: float
    """last_step - shuffled_state."""
    uses_state_interval: float
    """Half width of its 95 % interval, paired by image."""
    helps: bool | None
    """None: not distinguishable."""
    helps_points: float
    """last_step - first_step."""
    helps_interval: float
    answer: str

    def rows(self) -> list[tuple[str, str]]:
        """Condition and percent right, as text."""
        values = {
            "t = T alone": self.first_step,
            f"after the last of {self.steps} steps": self.last_step,
            "y_t shuffled between images": self.shuffled_state,
            "no image": self.no_image,
            "control": self.control,
        }
        score = Score.named("top1")
        return [(condition, score.text(value)) for condition, value in values.items()]


@dataclass(frozen=True, slots=True)
class Risk:
    """A point of the risk-coverage curve."""

    coverage: float
    """Share of images that get an answer, the most confident first, in [0, 1]."""
    risk: float
    """Share of wrong answers among them, in percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceRow:
    """How well one confidence is calibrated. Intervals: 95 %, bootstrap over images."""

    confidence: str
    """The read-out, `vote share`, `votes, smoothed`, `mean over chains`, or a control's name."""
    scaled: bool
    """True with temperature scaling."""
    top1: float
    """In percent."""
    ece: float
    """In percent, 15 bins."""
    ece_low: float
    ece_high: float
    nll: float
    """In nats; a probability of 0 counts as 1e-12."""
    brier: float
    aurc: float
    """Area under the risk-coverage curve: mean risk over all coverages, in percent."""
    aurc_low: float
    aurc_high: float
    risk80: float
    """Wrong answers among the 80 % most confident images, in percent."""
    set_size: float
    """Mean number of classes in the smallest set with at least 90 % of the probability."""
    set_coverage: float
    """Labels in that set, in percent."""
    count: int
    """Images."""
    temperatures: list[float]
    """One, or one for each of two halves of the images; empty if unscaled."""
    reliability: list[Bin]
    """Bins of the calibration error; the last one is for a confidence of exactly 1."""
    risk_coverage: list[Risk]

    @property
    def title(self) -> str:
        """The confidence, with `scaled` where a temperature was fitted."""
        return f"{self.confidence}, scaled" if self.scaled else self.confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A score of the vote share minus that of a confidence without chains, paired by image."""

    against: str
    scaled: bool
    """The other confidence is temperature scaled; votes never are."""
    score: str
    """`ece` or `aurc`, in percent; lower is better."""
    difference: float
    low: float
    high: float
    n: int
    """Images."""
    verdict: Verdict
    """Whether the vote share is better or worse."""


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Results of `addkit evaluate --uncertainty`."""

    chains: int
    steps: int
    temperature_from: str
    """The images whose NLL the temperatures minimise."""
    rows: list[ConfidenceRow]
    comparisons: list[Comparison]
    """Two for each other confidence: its `ece`, then its `aurc`."""

    @classmethod
    def from_data(cls, stored: Mapping[str, Any]) -> Uncertainty:
        """The inverse of `dataclasses.asdict`."""
        from addkit.metrics.uncertainty import Bin  # Imports torch.

        rows = [
            ConfidenceRow(
                **{
                    **row,
                    "reliability": [Bin(**each) for each in row["reliability"]],
                    "risk_coverage": [Risk(**each) for each in row["risk_coverage"]],
                }
            )
            for row in stored["rows"]
        ]
        comparisons = [Comparison(**each) for each in stored["comparisons"]]
        return cls(**{**stored, "rows": rows, "comparisons": comparisons})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRow:
    """Chains that stop early, against whole chains."""

    early_exit: int
    """Stop a chain once its answer has not changed for this many steps; 0: never."""
    metric: str
    """The task's headline score."""
    value: float
    """The score, as stored."""
    mean_steps: float
    """Mean over images of the steps taken."""
    saved: float
    """Share of the whole chain's steps that is not taken, in [0, 1]."""
    difference: float
    """Images right minus those of the whole chain, in points, with its 95 % interval."""
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipMeans:
    """Means of CLIP scores over images."""

    clip_cosine: float
    low: float
    """95 % interval of the cosine, bootstrap over images."""
    high: float
    clip_score: float
    ref_clip_score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionRow:
    """A row of table 3: captions of one origin and their scores."""

    name: str
    clip: ClipMeans | None
    """None where no CLIP model was given."""
    scores: Scores
    """Scores of the text; only `count` where an image has a single true caption."""
    share: float | None = None
    """Where its cosine lies between shuffled (0) and true captions (1)."""

    def data(self) -> dict[str, Any]:
        """One flat JSON object."""
        # Every row has the same keys, with null where there is no CLIP model.
        clip = dict.fromkeys(CLIP_FIELDS) if self.clip is None else asdict(self.clip)
        return {"row": self.name, **clip, "share": self.share, **self.scores}

    @classmethod
    def from_data(cls, stored: Mapping[str, Any]) -> CaptionRow:
        """The inverse of `data`."""
        values = {name: stored[name] for name in CLIP_FIELDS}
        clip = None if values["clip_cosine"] is None else ClipMeans(**values)
        # The rest are scores of the text, only `count` where an image has a single caption.
        names = [name for name in stored if name not in ("row", "share", *CLIP_FIELDS)]
        scores = {name: stored[name] for name in names}
        return cls(name=stored["row"], clip=clip, share=stored["share"], scores=scores)

    def clip_cells(self) -> list[str]:
        """A text for each of `CLIP_HEADINGS`; dashes where there is no CLIP score."""
        if self.clip is None:
            return ["-"] * len(CLIP_HEADINGS)
        clip = self.clip
        return [
            Score.named("clip_cosine").text(clip.clip_cosine),
            f"{clip.low:.4f} to {clip.high:.4f}",
            Score.named("clip_score").text(clip.clip_score),
            Score.named("ref_clip_score").text(clip.ref_clip_score),
            Score.named("share").text(self.share),
        ]


CLIP_FIELDS = tuple(each.name for each in fields(ClipMeans))
CLIP_HEADINGS = ("CLIP cosine", "95 %", "CLIP-S", "RefCLIP-S", "share %")
TABLE3 = ("exact_match", "bleu4", "cider_d", "rouge_l", "repeats", "length_accuracy")
"""Scores of the text in table 3, besides those by CLIP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything that `addkit evaluate` prints and stores; a sequence of its rows of scores."""

    run: str
    split: str
    weights: str
    results: list[ScoreRow]
    """A row for each setting."""
    controls: list[ScoreRow]
    """A row for each matched control."""
    step: int | None = None
    """Optimizer steps that the run's weights had taken."""
    audit: Audit | None = None
    table3: list[CaptionRow] | None = None
    """Captions: the paper's table 3."""
    clip: str | None = None
    """The CLIP model and its prompt."""
    uncertainty: Uncertainty | None = None
    early_exit: list[ExitRow] = field(default_factory=list)
    """A row for each value; empty where none was given."""

    @property
    def rows(self) -> list[ScoreRow]:
        """The results, then the controls."""
        return [*self.results, *self.controls]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[ScoreRow]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> ScoreRow:
        """The row at this position."""
        return self.rows[index]

    def to_pandas(self) -> DataFrame:
        """A DataFrame with a row for each of `rows`: model, settings and scores as stored.

        Raises `UsageError` if pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError:
            raise UsageError("to_pandas needs pandas: pip install pandas") from None
        return DataFrame([row.data() for row in self.rows])

    def _repr_html_(self) -> str:
        """The table of the rows, for notebooks."""
        scores = present(row.scores for row in self.rows)
        return table(
            ["model", *SETTING_HEADINGS, *(score.short_heading for score in scores)],
            [
                [
                    row.model_name,
                    *row.setting_cells(),
                    *(score.text(row.scores.get(score.name)) for score in scores),
                ]
                for row in self.rows
            ],
            f"{self.run}, {self.split} split, {self.weights} weights",
            words=4,
        )

    def never_predicted(self) -> dict[str, list[str]]:
        """By model, the classes that it predicts under no setting; without those that have none."""
        names: dict[str, list[str]] = {}
        for row in self.rows:
            earlier = names.get(row.model_name, row.never_predicted)
            names[row.model_name] = [name for name in earlier if name in row.never_predicted]
        return {model_name: classes for model_name, classes in names.items() if classes}

    def data(self) -> dict[str, Any]:
        """As JSON: values as computed, and their units by score, once for all rows."""
        # dict.fromkeys removes repetition and keeps the order, which a set would not.
        scores = map(Score.named, dict.fromkeys(name for row in self.rows for name in row.scores))
        return {
            "run": self.run,
            "split": self.split,
            "weights": self.weights,
            "step": self.step,
            "units": {
                score.name: "share" if score.stored_as_share else score.unit for score in scores
            },
            "results": [row.data() for row in self.results],
            "controls": [row.data() for row in self.controls],
            "audit": self.audit and asdict(self.audit),
            "table3": self.table3 and [row.data() for row in self.table3],
            "clip": self.clip,
            "uncertainty": self.uncertainty and asdict(self.uncertainty),
            "early_exit": [asdict(row) for row in self.early_exit],
        }

    @classmethod
    def from_data(cls, stored: Mapping[str, Any], run: Path | None = None) -> Evaluation:
        """The inverse of `data`. Raises `RunError` if it was written by a version of addkit with
        other keys.

        Args:
            stored: the object in evaluation.json.
            run: the folder that it was read from, for the error; by default the one that it names.
        """
        try:
            audit, table3, uncertainty = stored["audit"], stored["table3"], stored["uncertainty"]
            return cls(
                run=stored["run"],
                split=stored["split"],
                weights=stored["weights"],
                step=stored.get("step"),
                results=[ScoreRow.from_data(row) for row in stored["results"]],
                controls=[ScoreRow.from_data(row) for row in stored["controls"]],
                audit=audit and Audit(**audit),
                table3=table3 and [CaptionRow.from_data(row) for row in table3],
                clip=stored["clip"],
                uncertainty=uncertainty and Uncertainty.from_data(uncertainty),
                early_exit=[ExitRow(**row) for row in stored["early_exit"] or []],
            )
        # A missing key, a key that no dataclass has, a list where an object is expected. Scores
        # are cheap to compute again, so old files are not converted.
        except (KeyError, TypeError, AttributeError) as error:
            folder = run or Path(str(stored.get("run", "RUN")))
            raise RunError(
                f"{folder / 'evaluation.json'} was written by an earlier addkit; "
                f"run `{addkit_command('evaluate', '--run', folder)}` again"
            ) from error
