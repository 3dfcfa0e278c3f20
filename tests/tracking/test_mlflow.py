"""The MLflow tracker: with a small copy of MLflow's client, and with MLflow itself where it is installed."""

import importlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tracked_runs import EVALUATION, epoch, write_lines

from tfloop_cli.engine.trackers.mlflow import MlflowTracker
from tfloop_cli.errors import TfloopError
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.tracking.history import History, tracked_run


@dataclass
class Server:
    """The part of MLflow's client that is used; a parameter cannot be changed, and a repeated step is kept twice."""

    runs: dict[str, Any] = field(default_factory=dict)
    experiments: list[str] = field(default_factory=list)

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=name) if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        self.experiments.append(name)
        return name

    def search_runs(self, experiments: list[str], query: str, max_results: int) -> list[Any]:
        wanted = query.split("'")[1]
        return [one for one in self.runs.values() if one.data.tags.get("tfloop.run_id") == wanted][:max_results]

    def create_run(self, experiment: str, start_time: int, tags: dict[str, str], run_name: str) -> Any:
        data = SimpleNamespace(params={}, metrics={}, tags=dict(tags), points=[])
        made = SimpleNamespace(info=SimpleNamespace(run_id=f"run{len(self.runs)}", status="RUNNING"), data=data)
        self.runs[made.info.run_id] = made
        return made

    def update_run(self, id_: str, status: str) -> None:
        self.runs[id_].info.status = status

    def set_terminated(self, id_: str, status: str, end_time: int | None = None) -> None:
        self.runs[id_].info.status, self.runs[id_].info.end_time = status, end_time

    def set_tag(self, id_: str, key: str, value: str) -> None:
        self.runs[id_].data.tags[key] = value

    def delete_tag(self, id_: str, key: str) -> None:
        del self.runs[id_].data.tags[key]

    def get_metric_history(self, id_: str, name: str) -> list[Any]:
        return [one for one in self.runs[id_].data.points if one.key == name]

    def log_batch(self, id_: str, metrics: Any = (), params: Any = ()) -> None:
        data = self.runs[id_].data
        assert len(metrics) <= 100
        for one in params:
            assert data.params.setdefault(one.key, one.value) == one.value
        for one in metrics:
            data.points.append(one)
            data.metrics[one.key] = one.value


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made, mlflow, entities = Server(), ModuleType("mlflow"), ModuleType("mlflow.entities")
    mlflow.MlflowClient = lambda tracking_uri: made  # type: ignore[attr-defined]
    entities.Param = lambda key, value: SimpleNamespace(key=key, value=value)  # type: ignore[attr-defined]
    entities.Metric = lambda key, value, timestamp, step: SimpleNamespace(  # type: ignore[attr-defined]
        key=key, value=value, timestamp=timestamp, step=step
    )
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return made


def write(run: RunFolder, status: str = "finished", **arguments: Any) -> str:
    tracker, described = MlflowTracker(**arguments), tracked_run(run)
    where = tracker.start(described)
    for point in History(run, described.started).read():
        tracker.log(point.step, point.metrics, point.time)
    tracker.finish(status)
    return where


def points(run: Any, name: str) -> list[tuple[int, float]]:
    return [(one.step, one.value) for one in run.data.points if one.key == name]


def test_run_has_params_metrics_and_status(run: RunFolder, server: Server) -> None:
    assert write(run) == "sqlite:///mlflow.db, experiment tfloop, run run0"
    (made,) = server.runs.values()
    assert made.data.params["model.name"] == "linear"
    assert points(made, "train/loss") == [(10, 1.0), (20, 0.5)]
    assert points(made, "test/accuracy") == [(20, 0.75)]
    assert made.data.points[0].timestamp == 1795694403000
    assert made.data.tags["version.tfloop"] == "0.1.0"
    assert made.info.status == "FINISHED"
    assert made.info.end_time == 1795694406000  # of its last epoch, also if it is written a week later


def test_steps_of_a_resumed_run_are_not_logged_twice(run: RunFolder, server: Server) -> None:
    write(run, "stopped")
    assert server.runs["run0"].info.status == "KILLED"
    again = epoch(2) | {"examples_per_second": 50.0}  # trained again after a kill: as fast as the machine is now
    write_lines(run, epoch(1), again, epoch(3), EVALUATION)
    run.config.write_text(run.config.read_text().replace("linear", "mlp"))
    write(run)
    (made,) = server.runs.values()
    assert points(made, "train/loss") == [(10, 1.0), (20, 0.5), (30, 1 / 3)]
    assert made.data.tags["resumed.model.name"] == "mlp"
    assert made.data.params["model.name"] == "linear"


def test_other_values_at_known_steps_are_another_mlflow_run(run: RunFolder, server: Server) -> None:
    write(run)
    write_lines(run, epoch(1), epoch(2, 0.25), epoch(3))
    write(run, "failed")
    old, new = server.runs.values()
    assert points(old, "train/loss") == [(10, 1.0), (20, 0.5)]
    assert old.data.tags["tfloop.replaced_run_id"] == new.data.tags["tfloop.run_id"] == "0123456789abcdef"
    assert "tfloop.run_id" not in old.data.tags
    assert points(new, "train/loss") == [(10, 1.0), (20, 0.25), (30, 1 / 3)]
    assert new.data.params
    assert new.info.status == "FAILED"


def test_names_are_those_that_mlflow_accepts(run: RunFolder, server: Server) -> None:
    line = epoch(1)
    line["train"] = {"precision@k": 1.0, "loss(mean)": 2.0, "größe": 3.0}
    write_lines(run, line)
    write(run)
    assert {"train/precision_k", "train/loss_mean_", "train/größe"} <= set(server.runs["run0"].data.metrics)


def test_environment_is_respected(run: RunFolder, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "digits")
    assert write(run) == "http://server, experiment digits, run run0"
    assert dict(MlflowTracker().packages) == {"mlflow": "mlflow-skinny"}
    assert "sqlalchemy" in MlflowTracker(uri="sqlite:///x.db").packages
    assert write(run, uri="http://other", experiment="mine").startswith("http://other, experiment mine")


def test_password_in_a_config_is_refused() -> None:
    with pytest.raises(TfloopError, match="user name or a password") as caught:
        MlflowTracker(uri="https://me:secret@server/path")
    assert "secret" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # of its libraries
def test_mlflow_itself(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    importlib.import_module("mlflow.entities")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for _ in range(2):
        write(run, uri=uri)
        client = mlflow.MlflowClient(uri)
        (made,) = client.search_runs([client.get_experiment_by_name("tfloop").experiment_id])
        assert [one.step for one in client.get_metric_history(made.info.run_id, "train/loss")] == [10, 20]
    assert made.data.params["model.name"] == "linear"
    assert made.info.status == "FINISHED"
