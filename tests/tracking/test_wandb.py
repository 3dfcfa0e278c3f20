"""The Weights & Biases tracker: with a small copy of its library, and with itself, offline, where it is installed."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tfloop_cli.engine.trackers.wandb import WandbTracker
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.tracking.history import History, tracked_run


class Run:
    """A W&B run that has steps before `starting_step`."""

    def __init__(self, starting_step: int) -> None:
        self.starting_step, self.url = starting_step, "https://wandb.example/run"
        self.settings = SimpleNamespace(sync_dir="offline-run")
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.summary: dict[str, float] = {}
        self.exit_code: int | None = None

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.rows.append((step, metrics))

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


def write(run: RunFolder, status: str = "finished", **arguments: Any) -> str:
    tracker, described = WandbTracker(**arguments), tracked_run(run)
    where = tracker.start(described)
    for point in History(run, described.started).read():
        tracker.log(point.step, point.metrics, point.time)
    tracker.finish(status)
    return where


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    made: Any = ModuleType("wandb")
    made.Settings, made.starting_step, made.runs = dict, 0, []

    def init(**arguments: Any) -> Run:
        made.arguments = arguments
        made.runs.append(Run(made.starting_step))
        return made.runs[-1]

    made.init = init
    monkeypatch.setitem(sys.modules, "wandb", made)
    for name in ("WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    return made


def test_run_has_its_id_config_metrics_and_status(run: RunFolder, library: Any) -> None:
    assert write(run, "failed", project="mine") == "https://wandb.example/run"
    asked = library.arguments
    assert (asked["id"], asked["resume"], asked["project"]) == ("0123456789abcdef", "allow", "mine")
    assert asked["config"]["model.name"] == "linear"
    (made,) = library.runs
    assert [(step, "train/loss" in row) for step, row in made.rows] == [(10, True), (20, True), (20, False)]
    assert made.summary == {"test/accuracy": 0.75}
    assert made.exit_code == 1


def test_steps_of_a_resumed_run_are_not_logged_twice(run: RunFolder, library: Any) -> None:
    library.starting_step = 11
    write(run)
    assert [step for step, _ in library.runs[0].rows] == [20, 20]


def test_offline_run_replaces_one_that_was_not_synced(
    run: RunFolder, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    old, synced = (run.path / "wandb" / f"offline-run-{day}-0123456789abcdef" for day in (1, 2))
    for folder in (old, synced):
        folder.mkdir(parents=True)
    (synced / "run-0123456789abcdef.wandb.synced").touch()
    assert write(run) == "offline; `wandb sync offline-run`"
    assert (old.exists(), synced.exists()) == (False, True)


@pytest.mark.filterwarnings("ignore")  # of its libraries
def test_wandb_itself(run: RunFolder) -> None:
    pytest.importorskip("wandb")
    for _ in range(2):
        assert write(run, mode="offline").startswith("offline; `wandb sync")
        (folder,) = (run.path / "wandb").glob("offline-run-*")
        (file,) = Path(folder).glob("*.wandb")
        assert b"accuracy" in file.read_bytes()
