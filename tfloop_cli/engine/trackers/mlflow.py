"""MLflow: one MLflow run per run, found again by a tag with the run's id."""

import importlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import trackers
from tfloop_cli.tracking.tracker import FAILED, FINISHED, SPEED, TrackedRun

_ID, _REPLACED = "tfloop.run_id", "tfloop.replaced_run_id"  # tags
_EXPERIMENT = "tfloop"
_LOCAL = "sqlite:///mlflow.db"  # MLflow's own default
_MAX_VALUE, _PER_BATCH = 500, 100  # limits of servers: characters of a parameter, parameters per request
_STATUS = {FINISHED: "FINISHED", FAILED: "FAILED"}
_SETTINGS = {  # unless the user has set them
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}


@trackers.register("mlflow")
class MlflowTracker:
    """MLflow: parameters, metrics and the status of the run. Needs `pip install mlflow-skinny sqlalchemy alembic`.

    A resumed run continues its MLflow run, which is found by the tag `tfloop.run_id`; no step is logged twice. Where
    the resumed run has other values at a step that MLflow already has, a new MLflow run replaces the old one, which is
    kept without that tag. User name and password belong in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.

    Args:
        uri: of the tracking server; null: MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db` in the current folder.
        experiment: null: MLFLOW_EXPERIMENT_NAME, else `tfloop`.
    """

    def __init__(self, *, uri: str | None = None, experiment: str | None = None) -> None:
        if uri and re.search("://[^/]*@", uri):
            raise TfloopError(
                "tracking: the `uri` of mlflow has a user name or a password, which the run folder would keep",
                hint="remove it, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment",
            )
        self._uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or _LOCAL
        self._experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or _EXPERIMENT
        self.packages: Mapping[str, str] = {"mlflow": "mlflow-skinny"}
        if re.match("sqlite|postgresql|mysql|mssql", self._uri):
            self.packages = {**self.packages, "sqlalchemy": "sqlalchemy", "alembic": "alembic"}

    def load(self) -> None:
        """Imports MLflow, which takes a second."""
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        self._entities = importlib.import_module("mlflow.entities")
        self._client = importlib.import_module("mlflow").MlflowClient(tracking_uri=self._uri)

    def start(self, run: TrackedRun) -> str:
        """Finds or creates the MLflow run, and logs the parameters."""
        self.load()
        self._run = run
        experiment = self._client.get_experiment_by_name(self._experiment)
        self._experiment_id = experiment.experiment_id if experiment else self._create_experiment()
        query = f"tags.`{_ID}` = '{run.id}'"
        found = self._client.search_runs([self._experiment_id], query, max_results=1)
        self._logged: dict[str, dict[int, float]] = {}
        self._points: list[tuple[int, Mapping[str, float], float]] = []
        if found:
            self._id = found[0].info.run_id
            self._logged = {name: self._history(name) for name in found[0].data.metrics}
            self._client.update_run(self._id, status="RUNNING")
        else:
            self._create_run()
        self._log_params(found[0].data.params if found else {})
        return f"{_LOCAL if self._uri == _LOCAL else self._uri}, experiment {self._experiment}, run {self._id}"

    def _create_experiment(self) -> str:
        try:
            return str(self._client.create_experiment(self._experiment))
        except Exception:  # another run has created it in the meantime
            if experiment := self._client.get_experiment_by_name(self._experiment):
                return str(experiment.experiment_id)
            raise

    def _create_run(self) -> None:
        tags = {_ID: self._run.id, **{f"version.{name}": text for name, text in self._run.versions.items()}}
        milliseconds = int(1000 * self._run.started) or None
        created = self._client.create_run(self._experiment_id, milliseconds, tags, run_name=self._run.name)
        self._id = created.info.run_id

    def _history(self, name: str) -> dict[int, float]:
        return {point.step: point.value for point in self._client.get_metric_history(self._id, name)}

    def _log_params(self, known: Mapping[str, str]) -> None:
        """Logs what is new; MLflow does not change a parameter, so a changed key of a resumed run becomes a tag."""
        params = {_name(key): value[:_MAX_VALUE] for key, value in self._run.params.items()}
        new = [self._entities.Param(key, value) for key, value in params.items() if key not in known]
        changed = {key: value for key, value in params.items() if known.get(key, value) != value}
        for part in _batches(new):
            self._client.log_batch(self._id, params=part)
        for key, value in changed.items():
            self._client.set_tag(self._id, f"resumed.{key}", value)

    def log(self, step: int, metrics: Mapping[str, float], time: float) -> None:
        """Logs the metrics that MLflow does not have at this step."""
        self._points.append((step, metrics, time))
        named = {_name(name): value for name, value in metrics.items()}
        known = {name: self._logged[name][step] for name in named if step in self._logged.get(name, {})}
        # The same epoch, trained again after a kill, has the same metrics, but takes another time.
        if any(not _equal(value, named[name]) for name, value in known.items() if name != SPEED):
            self._replace_run()
        else:
            self._log_metrics(step, {name: value for name, value in named.items() if name not in known}, time)

    def _log_metrics(self, step: int, metrics: Mapping[str, float], time: float) -> None:
        points = [self._entities.Metric(name, value, int(1000 * time), step) for name, value in metrics.items()]
        for part in _batches(points):
            self._client.log_batch(self._id, metrics=part)

    def _replace_run(self) -> None:
        """Writes the run into a new MLflow run: MLflow cannot remove the values that the resumed run has not."""
        self._client.set_tag(self._id, _REPLACED, self._run.id)
        self._client.delete_tag(self._id, _ID)
        self._client.set_terminated(self._id, "KILLED")
        self._logged = {}
        self._create_run()
        self._log_params({})
        for step, metrics, time in self._points:
            self._log_metrics(step, {_name(name): value for name, value in metrics.items()}, time)

    def finish(self, status: str) -> None:
        """Sets the status (FINISHED, FAILED, or KILLED if it was stopped) and the last point as its end."""
        ended = int(1000 * self._points[-1][2]) if self._points else None
        self._client.set_terminated(self._id, _STATUS.get(status, "KILLED"), ended)


def _name(name: str) -> str:
    """Returns a name that MLflow accepts: letters, digits, `_`, `-`, `.`, spaces, `:` and `/`."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:250]


def _equal(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9) or (math.isnan(one) and math.isnan(other))


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    yield from (items[first : first + _PER_BATCH] for first in range(0, len(items), _PER_BATCH))
