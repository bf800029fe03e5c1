"""Trackers: where metrics go besides the run's own metrics.jsonl."""

from __future__ import annotations

from addkit.plugin.spec import TrackerSpec, components

addkit_components = components(
    TrackerSpec("none", ".settings:NoneConfig", lambda *_: None, "metrics.jsonl alone."),
    TrackerSpec(
        "tensorboard",
        ".settings:TensorBoardConfig",
        ".tensorboard:TensorBoard",
        "TensorBoard's event files, in the run's folder.",
    ),
    TrackerSpec(
        "wandb", ".settings:WandbConfig", ".wandb:Wandb", "Weights & Biases, online or offline."
    ),
    TrackerSpec(
        "mlflow", ".settings:MLflowConfig", ".mlflow:MLflow", "MLflow, to a server or a database."
    ),
)
