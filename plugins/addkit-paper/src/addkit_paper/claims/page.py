"""The claims page, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from addkit.errors import UsageError
from addkit.runs.atomic import write_text
from addkit_paper.claims.claim import Claim, Finding, Measured, find
from addkit_paper.claims.paper_claims import CLAIMS
from addkit_paper.claims.scale import Scale, names, scales
from addkit_paper.claims.series import Series
from addkit_paper.claims.stored_results import Evidence

ENDING = ".md"

TOP = (
    "# The paper's claims at our scale\n\n"
    "Written by `addkit claims` (`pip install plugins/addkit-paper`) from stored results; change "
    "those, not this page.\nThe paper is Authentic Discrete Diffusion (arXiv 2510.01047 v1).\n"
    "**A verdict here is about the scale below. It does not settle the paper's own scale**, which "
    "is far larger; it says what the choice does where anybody can repeat it.\n"
)
HOW = (
    "Each comparison, A over B, is a difference of two scores whose trainings have the same seed, "
    "data order and initial encoder; the claim says that it is above 0. Its 95 % interval is "
    "Student's t over the seeds; it speaks of other seeds, not of other data.\n\n"
    "- *holds*: the interval lies above 0, or above the margin that the comparison names\n"
    "- *does not hold*: it lies below\n"
    "- *not distinguishable*: it is neither above nor below\n"
    "- *needs 3 seeds*: there are fewer\n"
    "- *not tested*: something is missing, and a line says what\n\n"
    "A claim that says several things gets the gravest of their verdicts. *Controls* are "
    "comparisons that the paper lacks: whether the claim still holds against a fair rival, or why "
    "it does. Their verdict stands apart.\n"
)


@dataclass(frozen=True)
class Judgement:
    """Every claim with its verdict, and what it rests on."""

    evidence: Evidence
    findings: tuple[Finding, ...]

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        filled = names(self.evidence)
        return {
            "ablation": shown(self.evidence.ablation.path),
            "captions": [shown(files.run.path) for files in self.evidence.captions.values()],
            "scales": {name: asdict(one) for name, one in scales(self.evidence).items()},
            "claims": [finding.data(filled) for finding in self.findings],
        }


def judge(evidence: Evidence, claims: Sequence[Claim] = CLAIMS) -> Judgement:
    """Test every claim."""
    return Judgement(evidence, tuple(find(claims, evidence)))


def check_page(path: Path) -> None:
    """Raise `UsageError` if no page can be written there."""
    if path.suffix.lower() != ENDING:
        raise UsageError(f'--output {path}: ending "{path.suffix}"; known: {ENDING}')
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder {path.parent}")


def write_page(path: Path, judgement: Judgement) -> None:
    """Write the page; the same results give the same bytes."""
    write_text(path, page_text(judgement))


def page_text(judgement: Judgement) -> str:
    """The whole page."""
    evidence, findings = judgement.evidence, judgement.findings
    filled = names(evidence)
    parts = [
        TOP,
        _scale_table(scales(evidence)),
        HOW,
        _chance(findings),
        _summary(findings),
        *(_section(finding, finding.repeat(filled)) for finding in findings),
        _again(evidence),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _scale_table(found: dict[str, Scale]) -> str:
    told = [asdict(scale) for scale in found.values()]
    rows = [[name, *(one[name] for one in told)] for name in told[0]]
    return _table(["", *found], rows)


def _chance(findings: Iterable[Finding]) -> str:
    tested = [m for f in findings for m in f.measured if m.difference and m.difference.n > 1]
    return (
        f"There are {len(tested)} intervals at 95 %: about {len(tested) * 0.05:.1f} of them miss "
        "the true difference by chance alone.\n"
    )


def _summary(findings: Sequence[Finding]) -> str:
    rows = [
        [f"[{one.claim.title}](#{_anchor(one.claim.title)})", one.claim.place, one.verdict,
         one.control_verdict]
        for one in findings
    ]  # fmt: skip
    return _table(["claim", "in the paper", "verdict", "controls"], rows)


def _anchor(title: str) -> str:
    """As GitHub makes it of a heading."""
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def _section(finding: Finding, commands: Sequence[str]) -> str:
    claim = finding.claim
    lines = [
        f"## {claim.title}",
        "",
        f'"{claim.quote}" ({claim.place}). The paper: {claim.paper}.',
        "",
        f"{_verdicts(finding)} {claim.note}".rstrip(),
        "",
    ]
    if finding.measured:
        columns = ["A over B", "whose", "score", "A", "B", "n", "A - B", "95 %", "verdict"]
        rows = [_row(measured) for measured in finding.measured]
        lines += [_table(columns, rows), *_reasons(finding.measured)]
    return "\n".join([*lines, *(f"    {command}" for command in commands), ""])


def _row(measured: Measured) -> list[str]:
    higher, lower, one = measured.higher, measured.lower, measured.difference
    kind = "control" if measured.comparison.control else "the paper's"
    title = higher.title if higher else "-"
    scores = [measured.comparison.what, kind, title, _spread(higher), _spread(lower)]
    if one is None or higher is None:
        return [*scores, "0", "-", "-", measured.verdict]
    low, high = (higher.text(value, "+") for value in (one.low, one.high))
    interval = f"{low} to {high}" if one.n > 1 else "-"
    return [*scores, str(one.n), higher.text(one.mean, "+"), interval, measured.verdict]


def _spread(series: Series | None) -> str:
    """`90.68 +- 0.09`: mean and standard deviation of the seeds."""
    found = series.data() if series else None
    if series is None or found is None or found["mean"] is None:
        return "-"
    mean = series.text(found["mean"])
    return mean if found["sd"] is None else f"{mean} +- {series.text(found['sd'])}"


def _verdicts(finding: Finding) -> str:
    controls = finding.control_verdict
    return f"**{finding.verdict}**{'' if controls == '-' else f'; controls: {controls}'}."


def _reasons(measured: Sequence[Measured]) -> Iterator[str]:
    """A paragraph for each reason why something was not tested; without names if all were not."""
    lacking: dict[str, list[str]] = {}
    for one in measured:
        if one.reason:
            lacking.setdefault(one.reason, []).append(one.comparison.what)
    for reason, whats in lacking.items():
        which = "" if len(whats) == len(measured) else f" ({'; '.join(whats)})"
        yield f"Not tested{which}: {_plain(reason)}."
        yield ""


def _again(evidence: Evidence) -> str:
    runs = ",".join(shown(files.run.path) for files in evidence.captions.values())
    captions = f" --captions {runs}" if runs else ""
    return (
        "## This page\n\n"
        f"    addkit claims {shown(evidence.ablation.path)}{captions}\n"
    )  # fmt: skip


def shown(path: Path) -> str:
    """A path as seen from here; of one that lies elsewhere the folder's own name."""
    if not path.is_absolute():
        return path.as_posix()
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.name


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(map(_plain, line))} |\n" for line in lines)


def _plain(text: str) -> str:
    """One line, in which a pipe ends no cell and an angle begins no tag."""
    return " ".join(text.replace("|", r"\|").replace("<", "&lt;").split())
