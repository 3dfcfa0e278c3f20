"""Thresholds are always checked: a run exits with 0 only if it was evaluated and passed."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tfloop_cli.config.loading import from_mapping
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.start import TrainOptions
from tfloop_cli.terminal.console import Console
from tfloop_cli.thresholds import Threshold, require_metrics, require_passed

CONFIG = {
    "dataset": {"name": "synthetic", "shape": [8], "classes": 3, "train_examples": 60, "test_examples": 20},
    "model": "linear", "epochs": 300, "batch_size": 8, "validation": 12, "steps_per_execution": 1, "device": "cpu",
    "threads": 1,
}  # fmt: skip
PASSES, FAILS = Threshold("--fail-under", "accuracy", 0.0), Threshold("--fail-under", "accuracy", 1.01)

Train = Callable[..., ExitCode]


@pytest.fixture
def train(machine: None, tmp_path: Path) -> Iterator[Train]:
    """Returns a function that trains `CONFIG` in this process, in one run folder."""
    from tfloop_cli.commands.train import train as command

    def start(*thresholds: Threshold, seconds: float = math.inf, **changes: object) -> ExitCode:
        run = RunFolder(tmp_path / "run")
        resume = run if run.is_run() else None
        options = TrainOptions("run", run.path, resume, max_seconds=seconds, thresholds=thresholds)
        return command(from_mapping(CONFIG | changes, "a test"), options, Console(json=True))

    return start


def test_run_stopped_by_max_time_is_evaluated_and_can_be_resumed(train: Train, tmp_path: Path, capsys) -> None:
    with pytest.raises(TfloopError, match=r"test accuracy .* is under 1\.01") as caught:
        train(FAILS, seconds=0)
    assert caught.value.code == ExitCode.THRESHOLD_FAILED
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["reason"] == "max_time"
    assert summary["evaluations"]["test"]["examples"] == 20
    assert train(PASSES, seconds=0) == ExitCode.DONE  # continues, and is evaluated again
    assert train(seconds=0) == ExitCode.DONE  # without thresholds, nothing is evaluated
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = [event["event"] for event in events if event["event"] != "epoch"]
    assert kinds == ["start", "evaluation", "end"] * 2 + ["start", "end"]
    steps = [event["step"] for event in events if event["event"] == "start"]
    assert steps == sorted(set(steps))
    with pytest.raises(TfloopError, match=r"test accuracy .* is under 1\.01"):
        train(FAILS, epochs=1)  # resumed to its end


def test_threshold_of_nan_or_missing_metric_fails() -> None:
    for option in ("--fail-under", "--fail-over"):
        threshold = Threshold(option, "accuracy", 0.5)
        with pytest.raises(TfloopError, match="test accuracy nan is") as caught:
            require_passed([threshold], "test", {"accuracy": math.nan})
        assert caught.value.code == ExitCode.THRESHOLD_FAILED
        with pytest.raises(TfloopError, match=r"accuracy was not evaluated: .* could not be checked") as caught:
            require_passed([threshold], "test", {})
        assert caught.value.code == ExitCode.THRESHOLD_FAILED
    require_passed([], "test", {})


def test_threshold_on_empty_test_split_is_usage_error(configure) -> None:
    import numpy as np

    from tfloop_cli.engine.data import ArraySource, Data, Dataset, DataSpec

    def source(examples: int) -> ArraySource:
        return ArraySource(np.zeros((examples, 8), np.float32), np.arange(examples, dtype=np.int32) % 3)

    spec = DataSpec((8,), "float32", (), ("a", "b", "c"))
    data = Data(Dataset(spec, {"train": source(60), "test": source(0)}, ""), configure())
    assert data.splits == ["train"]
    with pytest.raises(TfloopError, match="the dataset has no split `test` to check it on") as caught:
        require_metrics([PASSES], ["accuracy"], "test", data.splits)
    assert caught.value.code == ExitCode.USAGE
