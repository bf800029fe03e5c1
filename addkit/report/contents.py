"""Every section of a page, in the order of the page; those with a figure are `addkit plot`'s."""

from __future__ import annotations

from addkit.errors import UsageError, guess
from addkit.report import ablation_sections as ablation
from addkit.report import run_sections as run
from addkit.report.run_files import NotShownError
from addkit.report.sections import RunReport, Section, Shown, Source

# From the result to its reasons to its origin, as one reads a run.
SECTIONS: tuple[Section, ...] = (
    Section(
        name="scores",
        title="Scores",
        of_run=run.show_scores,
        of_ablation=ablation.show_table,
        figure=False,
    ),
    Section(
        name="differences",
        title="Differences with intervals",
        of_run=run.show_differences,
        of_ablation=ablation.show_differences,
    ),
    Section(
        name="accuracy",
        title="Accuracy while training",
        of_run=run.show_accuracy,
        of_ablation=ablation.show_accuracy,
    ),
    Section(
        name="losses",
        title="Training losses",
        of_run=run.show_losses,
        of_ablation=ablation.show_losses,
    ),
    Section(
        name="loss-by-time", title="Training loss by noise level", of_run=run.show_loss_by_time
    ),
    Section(name="step-time", title="Time of an optimizer step", of_run=run.show_step_time),
    Section(
        name="steps",
        title="Accuracy over sampling steps",
        of_run=run.show_steps,
        of_ablation=ablation.show_steps,
    ),
    Section(
        name="chain",
        title="How an answer sharpens",
        of_run=run.show_chain,
        of_ablation=ablation.show_chains,
    ),
    Section(name="reliability", title="Reliability", of_run=run.show_reliability),
    Section(name="classes", title="Accuracy by class", of_run=run.show_classes),
    Section(name="confusion", title="Confusions", of_run=run.show_confusion),
    Section(name="samples", title="Examples", of_run=run.show_samples),
    Section(name="settings", title="Inference settings", of_run=run.show_settings, figure=False),
    Section(name="audit", title="Audit of the loop", of_run=run.show_audit, figure=False),
    Section(
        name="table3", title="Table 3: captions compared", of_run=run.show_table3, figure=False
    ),
    Section(
        name="origin",
        title="Where it comes from",
        of_run=run.show_origin,
        of_ablation=ablation.show_origin,
        figure=False,
    ),
)
FIGURES = {section.name: section for section in SECTIONS if section.figure}


def check_name(figure: str) -> None:
    """Raise `UsageError` if no figure has this name."""
    if figure not in FIGURES:
        raise UsageError(
            f'no figure "{figure}"{guess(figure, FIGURES)}; there are: {", ".join(FIGURES)}'
        )


def figure_of(name: str, source: Source) -> Shown:
    """The section with the figure of this name.

    Raises:
        UsageError: no such figure, or none of such a source.
        NotShownError: its data is missing; names the command that makes it.
    """
    check_name(name)
    content = FIGURES[name].content_of(source)
    if content is None:
        # Names the figures that this source has, since some are of runs alone.
        kinds = ["a run", "an ablation"]
        kind, other = kinds if isinstance(source, RunReport) else kinds[::-1]
        names = ", ".join(n for n, each in FIGURES.items() if each.content_of(source))
        raise UsageError(f'figure "{name}" is of {other}, and this is {kind}, with: {names}')
    try:
        # Only this section is made: others may need weights and data that this one does not.
        return content()
    except NotShownError as error:
        raise NotShownError(f'figure "{name}": {error}') from error
