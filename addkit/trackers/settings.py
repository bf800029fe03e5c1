"""Settings of the built-in trackers: what their tables in a recipe may say."""

from __future__ import annotations

from addkit.plugin.config import Config


class NoneConfig(Config):
    """The run's own metrics.jsonl is enough."""


class TensorBoardConfig(Config):
    """Event files in the run's folder `tensorboard`, written out about every two minutes."""
