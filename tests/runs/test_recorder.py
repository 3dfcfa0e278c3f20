"""The recorder: metrics.jsonl and summary.json, also when the disk fails."""

import json
from pathlib import Path
from typing import Any

import pytest

from tfloop_cli.events import EpochDone, Evaluated, Event, Progress, RunEnded, RunStarted, Stopped
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.recorder import Recorder

NAN = float("nan")
ENDED = RunEnded("completed", "runs/x", "runs/x/checkpoints/step-00000003", "ab12", 7.5)


def epoch(number: int, loss: float, *, best: bool = False) -> EpochDone:
    return EpochDone(number, number * 10, {"loss": loss}, {"loss": loss / 2}, 2.5, 0.5, 1000.25, best)


EVENTS: list[Event] = [
    RunStarted("runs/x", 0, {}, 3, 10, 1000, ("loss",)),
    Progress(1, 5, 5, {"loss": 1.0}, 1000.0),
    epoch(1, 0.5, best=True),
    epoch(2, 0.25, best=True),
    epoch(3, NAN),
    Stopped("completed", 30),
    Evaluated("test", 100, {"loss": 0.125}, "c"),
    ENDED,
]


@pytest.fixture
def warnings() -> list[str]:
    return []


def documents(run: RunFolder) -> list[Any]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def test_events_are_recorded_immediately(tmp_path: Path, warnings: list[str]) -> None:
    run = RunFolder(tmp_path)
    recorder = Recorder(run, warnings.append)
    for event in EVENTS[:3]:
        recorder.handle(event)
    assert [one["event"] for one in documents(run)] == ["epoch"]
    for event in EVENTS[3:]:
        recorder.handle(event)
    assert [one["event"] for one in documents(run)] == [
        "epoch",
        "epoch",
        "epoch",
        "evaluation",
        "end",
    ]
    assert documents(run)[2] == {
        "event": "epoch",
        "epoch": 3,
        "step": 30,
        "train": {"loss": None},
        "validation": {"loss": None},
        "train_seconds": 2.5,
        "validation_seconds": 0.5,
        "examples_per_second": 1000.25,
        "best": False,
    }
    assert json.loads(run.summary.read_text()) == {
        "schema": 1,
        "reason": "completed",
        "run": "runs/x",
        "checkpoint": "runs/x/checkpoints/step-00000003",
        "weights_sha256": "ab12",
        "seconds": 7.5,
        "final": {"epoch": 3, "step": 30, "train": {"loss": None}, "validation": {"loss": None}},
        "best": {"epoch": 2, "step": 20, "train": {"loss": 0.25}, "validation": {"loss": 0.125}},
        "evaluations": {"test": {"examples": 100, "loss": 0.125}},
    }


def test_second_recorder_appends(tmp_path: Path, warnings: list[str]) -> None:
    run = RunFolder(tmp_path)
    Recorder(run, warnings.append).handle(epoch(1, 1.0))
    Recorder(run, warnings.append).handle(epoch(2, 1.0))
    assert [one["epoch"] for one in documents(run)] == [1, 2]


def test_disk_error_is_reported_once_and_lines_are_written_later(tmp_path: Path, warnings: list[str]) -> None:
    run = RunFolder(tmp_path / "run")
    recorder = Recorder(run, warnings.append)
    recorder.handle(epoch(1, 1.0))  # the folder does not exist
    recorder.handle(epoch(2, 1.0))
    assert len(warnings) == 1
    assert warnings[0].startswith("the run's history cannot be written: ")
    run.path.mkdir()
    recorder.handle(epoch(3, 1.0))
    assert [one["epoch"] for one in documents(run)] == [1, 2, 3]
    run.summary.mkdir()  # cannot be replaced by a file
    recorder.handle(ENDED)
    assert len(warnings) == 1


def test_incomplete_line_is_removed_after_full_disk(tmp_path: Path, warnings: list[str]) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    run = RunFolder(tmp_path)
    recorder = Recorder(run, warnings.append)
    recorder.handle(epoch(1, 1.0))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (run.metrics.stat().st_size + 10, limits[1]))
        recorder.handle(epoch(2, 1.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert len(warnings) == 1
    assert "File too large" in warnings[0]
    assert not run.metrics.read_bytes().endswith(b"\n")
    recorder.handle(epoch(3, 1.0))
    assert [one["epoch"] for one in documents(run)] == [1, 2, 3]


@pytest.mark.parametrize(("best_step", "best"), [(20, 2), (-1, None)])
def test_summary_of_a_resumed_run_has_the_best_epoch_of_its_state(
    tmp_path: Path, warnings: list[str], best_step: int, best: int | None
) -> None:
    """With `checkpoint.best: null`, or another metric, it had the epoch that was the best one before."""
    run = RunFolder(tmp_path)
    first = Recorder(run, warnings.append)
    for event in EVENTS[:5]:
        first.handle(event)
    resumed = Recorder(run, warnings.append)
    history = resumed.restore_history(3, best_step)
    assert [event.epoch for event in history if event.best] == ([1, 2] if best else [])
    resumed.handle(ENDED)
    found = json.loads(run.summary.read_text())["best"]
    assert (found and found["epoch"]) == best


def test_history_has_one_row_per_epoch(tmp_path: Path, warnings: list[str]) -> None:
    run = RunFolder(tmp_path)
    recorder = Recorder(run, warnings.append)
    recorder.restore_history(0, -1)
    assert run.history.read_text() == "epoch,step,seconds,examples_per_second\n"
    for event in EVENTS:
        recorder.handle(event)
    assert run.history.read_text().splitlines() == [
        "epoch,step,seconds,examples_per_second,train/loss,validation/loss",
        "1,10,3.0,1000.25,0.5,0.25",
        "2,20,3.0,1000.25,0.25,0.125",
        "3,30,3.0,1000.25,nan,nan",
    ]


def test_history_of_a_resumed_run_has_each_epoch_once(tmp_path: Path, warnings: list[str]) -> None:
    run = RunFolder(tmp_path)
    first = Recorder(run, warnings.append)
    for event in EVENTS:
        first.handle(event)
    uninterrupted = run.history.read_bytes()
    second = Recorder(run, warnings.append)
    second.restore_history(1, 10)
    assert len(run.history.read_text().splitlines()) == 2
    for event in EVENTS[3:]:
        second.handle(event)
    assert run.history.read_bytes() == uninterrupted
    assert list(tmp_path.glob(".*.tmp")) == []


def test_history_has_empty_cells_for_missing_metrics(tmp_path: Path, warnings: list[str]) -> None:
    recorder = Recorder(RunFolder(tmp_path), warnings.append)
    recorder.handle(EpochDone(1, 10, {"loss": 0.5}, None, 2.5, 0.5, 1000.0))
    recorder.handle(EpochDone(2, 20, {"loss": 0.5, "a, b": 1.0}, {"loss": 1.0}, 2.5, 0.5, 1000.0))
    assert (tmp_path / "history.csv").read_text().splitlines() == [
        'epoch,step,seconds,examples_per_second,train/loss,"train/a, b",validation/loss',
        "1,10,3.0,1000.0,0.5,,",
        "2,20,3.0,1000.0,0.5,1.0,1.0",
    ]


def test_history_has_the_learning_rate(tmp_path: Path, warnings: list[str]) -> None:
    """Of 0, at the end of a schedule, too; NaN is left out, so that the epoch can be read again."""
    recorder = Recorder(RunFolder(tmp_path), warnings.append)
    for number, rate in enumerate((0.5, 0.0, NAN), 1):
        recorder.handle(EpochDone(number, 10, {"loss": 0.5}, None, 2.5, 0.5, 1000.0, learning_rate=rate))
    written = (tmp_path / "history.csv").read_text()
    assert [line.split(",")[4] for line in written.splitlines()] == ["learning_rate", "0.5", "0.0", ""]
    recorder = Recorder(RunFolder(tmp_path), warnings.append)
    assert [one.learning_rate for one in recorder.restore_history(3, -1)] == [0.5, 0.0, None]
    assert (tmp_path / "history.csv").read_text() == written
