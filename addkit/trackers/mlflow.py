"""MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from time import time
from typing import Any

from addkit.trackers.packages import package, run_title

ID_FILE = "mlflow-id"
"""File in the run's folder with the id of its tracked run."""
BATCH = 500
"""Metrics of one request; a server takes at most 1,000."""
PARAMETERS = 100
"""Parameters of one request, which is all that a server takes."""
LONGEST = 500
"""Characters of a parameter that every server stores."""


class MLflow:
    """An MLflow run for each network; a resumed training continues the same one.

    Metrics are sent some hundred at a time, since each request to a server takes a while. Raises
    `PluginError` if the package is missing.

    Args:
        project: the experiment, created where it is missing.
        title: name of the tracked runs; None takes the run folder's.
        uri: of the tracking server or database; None: MLflow's own default, `MLFLOW_TRACKING_URI`.
        tags: of the tracked runs, each without a value.
    """

    def __init__(
        self, project: str, title: str | None, uri: str | None, tags: Sequence[str]
    ) -> None:
        mlflow = package("mlflow", "mlflow", "mlflow")
        self._entities = package("mlflow.entities", "mlflow", "mlflow")
        self._make_client = partial(mlflow.MlflowClient, tracking_uri=uri)
        self._project, self._title, self._tags = project, title, tags
        self._client: Any = None
        self._id = ""
        self._waiting: list[Any] = []

    def begin(self, run: str, recipe: Mapping[str, Any]) -> None:
        """Open the tracked run, or continue it; the recipe's values are its parameters."""
        folder, client = Path(run), self._make_client()
        file = folder / ID_FILE
        if file.exists():
            self._id = file.read_text("utf-8").strip()
            client.update_run(self._id, status="RUNNING")
        else:
            experiment = client.get_experiment_by_name(self._project)
            number = experiment.experiment_id if experiment else None
            created = client.create_run(
                number or client.create_experiment(self._project),
                run_name=run_title(folder, self._title),
                tags=dict.fromkeys(self._tags, ""),
            )
            self._id = created.info.run_id
            file.write_text(f"{self._id}\n", "utf-8")
            values = parameters_of(recipe)
            while some := list(islice(values, PARAMETERS)):
                params = [self._entities.Param(name, value[:LONGEST]) for name, value in some]
                client.log_batch(self._id, params=params)
        self._client = client

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """All values of a step."""
        now = int(1000 * time())
        self._waiting += [
            self._entities.Metric(name, value, now, step) for name, value in values.items()
        ]
        if len(self._waiting) >= BATCH:
            self._send()

    def close(self) -> None:
        """Send what is left, and end the tracked run."""
        if self._client is not None:
            self._send()
            self._client.set_terminated(self._id)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), BATCH):
            self._client.log_batch(self._id, metrics=waiting[start : start + BATCH])


def parameters_of(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(`table.key`, text) of each value of a recipe."""
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from parameters_of(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
