"""Every part of a page, in the order of the page."""

from __future__ import annotations

from addkit.report import ablation_sections as arms
from addkit.report import run_sections as run
from addkit.report.sections import Part

PARTS: tuple[Part, ...] = (
    Part(
        name="scores",
        title="Scores",
        of_run=run.show_scores,
        of_ablation=arms.show_arm_table,
        figure=False,
    ),
    Part(
        name="differences",
        title="Differences with intervals",
        of_run=run.show_differences,
        of_ablation=arms.show_arm_whiskers,
    ),
    Part(
        name="accuracy",
        title="Accuracy while training",
        of_run=run.show_accuracy,
        of_ablation=arms.show_arm_accuracy,
    ),
    Part(
        name="losses",
        title="Training losses",
        of_run=run.show_losses,
        of_ablation=arms.show_arm_losses,
    ),
    Part(name="loss-by-time", title="Training loss by noise level", of_run=run.show_loss_by_time),
    Part(name="step-time", title="Time of an optimizer step", of_run=run.show_step_time),
    Part(
        name="steps",
        title="Accuracy over sampling steps",
        of_run=run.show_steps,
        of_ablation=arms.show_arm_steps,
    ),
    Part(name="chain", title="How an answer sharpens", of_run=run.show_chain),
    Part(name="reliability", title="Reliability", of_run=run.show_reliability),
    Part(name="classes", title="Accuracy by class", of_run=run.show_classes),
    Part(name="confusion", title="Confusions", of_run=run.show_confusion),
    Part(name="samples", title="Examples", of_run=run.show_samples),
    Part(name="settings", title="Ways to answer", of_run=run.show_settings, figure=False),
    Part(name="audit", title="Audit of the loop", of_run=run.show_audit, figure=False),
    Part(name="table3", title="Table 3: captions compared", of_run=run.show_table3, figure=False),
    Part(
        name="origin",
        title="Where it comes from",
        of_run=run.show_origin,
        of_ablation=arms.show_repeat,
        figure=False,
    ),
)
