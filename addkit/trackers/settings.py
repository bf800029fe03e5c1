"""Settings of the built-in trackers: what their tables in a recipe may say."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from addkit.plugin.config import Config, Names


class NoneConfig(Config):
    """The run's own metrics.jsonl is enough."""


class TensorBoardConfig(Config):
    """Event files in the run's folder `tensorboard`, written out about every two minutes."""


class ServerConfig(Config):
    """Settings of trackers that group runs in projects."""

    project: str = Field("addkit", min_length=1, description="Project or experiment of the runs.")
    title: str | None = Field(
        None, min_length=1, description="Name of the tracked run; the run folder's by default."
    )
    tags: Names = Field((), description="Tags of the tracked run.")


class WandbConfig(ServerConfig):
    """Weights & Biases; WANDB_MODE=offline writes files alone."""

    folder: Path | None = Field(None, description="Folder of wandb's files; by default the run's.")


class MLflowConfig(ServerConfig):
    """MLflow, to a server or a database."""

    uri: str | None = Field(
        None,
        min_length=1,
        description="Tracking server or database; by default MLFLOW_TRACKING_URI's.",
    )
