"""The page of claims and verdicts, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from addkit.errors import UsageError
from addkit.runs.atomic import write_text
from addkit.terminal import addkit_command
from addkit_paper.claims.claim import AssessedClaim, Claim, MeasuredComparison
from addkit_paper.claims.paper_claims import CLAIMS
from addkit_paper.claims.quantities import SeedScores
from addkit_paper.claims.scale import command_names, scales
from addkit_paper.claims.stored_results import StoredResults

ENDING = ".md"

TOP = """# The paper's claims at our scale

Written by `addkit claims` (`pip install plugins/addkit-paper`) from stored results; change those, \
not this page.
The paper is Authentic Discrete Diffusion (arXiv 2510.01047 v1).
**A verdict here is about the scale below.
It does not settle the paper's own scale**, which is far larger; it says what the choice does \
where anybody can repeat it.
"""
HOW = """Each comparison, A over B, is a difference of two scores whose trainings have the same \
seed, data order and initial encoder; the claim says that it is above 0.
Its 95 % interval is Student's t over the seeds; it speaks of other seeds, not of other data.

- *holds*: the interval lies above 0, or above the margin that the comparison names
- *does not hold*: it lies below
- *not distinguishable*: it is neither above nor below
- *needs 3 seeds*: there are fewer
- *not tested*: something is missing, and a line says what

A claim that says several things gets the worst of their verdicts.
*Controls* are comparisons that the paper lacks: whether the claim still holds against a fair \
rival, or why it does.
They have a verdict of their own.
"""


@dataclass(frozen=True)
class Assessment:
    """Every claim with its verdict, and the results that it was tested on."""

    results: StoredResults
    claims: tuple[AssessedClaim, ...]

    def data(self) -> dict[str, Any]:
        """For JSON."""
        names = command_names(self.results)
        return {
            "ablation": path_text(self.results.ablation.path),
            "captions": [path_text(files.run.path) for files in self.results.captions.values()],
            "scales": {name: asdict(scale) for name, scale in scales(self.results).items()},
            "claims": [claim.data(names) for claim in self.claims],
        }


def assess(results: StoredResults, claims: Sequence[Claim] = CLAIMS) -> Assessment:
    """Test every claim."""
    return Assessment(results, tuple(claim.assess(results) for claim in claims))


def check_page(path: Path) -> None:
    """Raise `UsageError` if no page can be written to this path."""
    if path.suffix.lower() != ENDING:
        raise UsageError(f'--output {path}: ending "{path.suffix}"; known: {ENDING}')
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder {path.parent}")


def write_page(path: Path, assessed: Assessment) -> None:
    """Write the page; the same results give the same bytes."""
    write_text(path, page_text(assessed))


def page_text(assessed: Assessment) -> str:
    """The whole page."""
    results, names = assessed.results, command_names(assessed.results)
    columns = [asdict(scale) for scale in scales(results).values()]
    scale_rows = [[key, *(column[key] for column in columns)] for key in columns[0]]
    differences = [each.difference for claim in assessed.claims for each in claim.measured]
    count = sum(each is not None and each.n > 1 for each in differences)
    summary = [
        [f"[{claim.claim.title}](#{_anchor(claim.claim.title)})", claim.claim.place, claim.verdict,
         claim.control_verdict]
        for claim in assessed.claims
    ]  # fmt: skip
    runs = ",".join(path_text(files.run.path) for files in results.captions.values())
    captions = ("--captions", runs) if runs else ()
    again = addkit_command("claims", path_text(results.ablation.path), *captions)
    parts = [
        TOP,
        _table(["", *scales(results)], scale_rows),
        HOW,
        # At 95 %, some intervals miss by chance: a reader must know how many to expect.
        f"There are {count} intervals at 95 %: about {count * 0.05:.1f} of them miss "
        "the true difference by chance alone.\n",
        _table(["claim", "in the paper", "verdict", "controls"], summary),
        *(_section(claim, claim.commands(names)) for claim in assessed.claims),
        f"## This page\n\n    {again}\n",
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _anchor(title: str) -> str:
    # The rule by which GitHub derives the anchor of a heading.
    letters = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return letters.replace(" ", "-")


def _section(assessed: AssessedClaim, commands: Sequence[str]) -> str:
    claim, controls = assessed.claim, assessed.control_verdict
    lines = [
        f"## {claim.title}",
        "",
        f'"{claim.quote}" ({claim.place}).',
        f"The paper: {claim.paper}.",
        "",
        f"**{assessed.verdict}**{'' if controls == '-' else f'; controls: {controls}'}.",
        *one_sentence_a_line(claim.note),
        "",
    ]
    if assessed.measured:
        columns = ["A over B", "whose", "score", "A", "B", "n", "A - B", "95 %", "verdict"]
        rows = [_row(measured) for measured in assessed.measured]
        lines += [_table(columns, rows), *_reasons(assessed.measured)]
    return "\n".join([*lines, *(f"    {command}" for command in commands), ""])


def one_sentence_a_line(text: str) -> list[str]:
    """A text's sentences, so that a diff of the page shows the one that changed."""
    return re.split(r"(?<=\.) (?=[A-Z])", text) if text else []


def _row(measured: MeasuredComparison) -> list[str]:
    higher, lower, interval = measured.higher, measured.lower, measured.difference
    whose = "control" if measured.comparison.control else "the paper's"
    title = higher.title if higher else "-"
    scores = [measured.comparison.what, whose, title, _mean_and_sd(higher), _mean_and_sd(lower)]
    if interval is None or higher is None:
        return [*scores, "0", "-", "-", measured.verdict]
    low, high = (higher.text(value, "+") for value in (interval.low, interval.high))
    bounds = f"{low} to {high}" if interval.n > 1 else "-"
    return [*scores, str(interval.n), higher.text(interval.mean, "+"), bounds, measured.verdict]


def _mean_and_sd(scores: SeedScores | None) -> str:
    """`90.68 +- 0.09`: mean and standard deviation over the seeds."""
    data = scores.data() if scores else None
    if scores is None or data is None or data["mean"] is None:
        return "-"
    mean = scores.text(data["mean"])
    return mean if data["sd"] is None else f"{mean} +- {scores.text(data['sd'])}"


def _reasons(measured: Sequence[MeasuredComparison]) -> Iterator[str]:
    """A paragraph for each reason why comparisons were not tested."""
    by_reason: dict[str, list[str]] = {}
    for each in measured:
        if each.reason:
            by_reason.setdefault(each.reason, []).append(each.comparison.what)
    for reason, comparisons in by_reason.items():
        # Naming them is of no use where it is all of them.
        which = "" if len(comparisons) == len(measured) else f" ({'; '.join(comparisons)})"
        yield f"Not tested{which}: {_cell(reason)}."
        yield ""


def path_text(path: Path) -> str:
    """A path relative to the working directory; the folder's name, if it lies elsewhere."""
    if not path.is_absolute():
        return path.as_posix()
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.name


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    """One line in which `|` ends no cell and `<` begins no HTML tag."""
    return " ".join(text.replace("|", r"\|").replace("<", "&lt;").split())
