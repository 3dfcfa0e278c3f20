"""`tfloop reproduce`: the same bits or what differs; what cannot be reproduced is refused without TensorFlow."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.run_folders import write_run
from tfloop_cli.cli import app
from tfloop_cli.runs.records import RunRecord
from tfloop_cli.runs.reproduction import Plan, outcome, plan


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(path: Path) -> RunRecord:
    from tfloop_cli.runs.folder import RunFolder

    return RunRecord(RunFolder(path))


def reproduce(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["reproduce", *arguments])
    assert result.exit_code == code, result.output
    return result


# With TensorFlow: one training that is stopped after its first epoch, and one that has another seed


def stopped(finished: Any, folder: Path) -> Path:
    """Returns a copy of a finished run of two epochs as it would be if it had been stopped in the second one."""
    run = folder / "runs" / "small"
    shutil.copytree(finished.folder, run)
    lines = run.joinpath("metrics.jsonl").read_text().splitlines(keepends=True)
    run.joinpath("metrics.jsonl").write_text(lines[0])
    summary = json.loads(run.joinpath("summary.json").read_text())
    first = {key: json.loads(lines[0])[key] for key in ("epoch", "step", "train", "validation")}
    stop = {"reason": "max_time", "final": first, "best": first, "evaluations": {}}
    run.joinpath("summary.json").write_text(json.dumps(summary | stop))
    return run


def test_stopped_run_is_reproduced_up_to_its_last_epoch(machine: None, finished: Any, folder: Path) -> None:
    stopped(finished, folder)
    result = reproduce("small", "--json", "-q")
    document = json.loads(result.stdout.splitlines()[-1])
    assert document["event"] == "reproduction"
    assert (document["equal"], document["finished"], document["epochs"]) == (True, False, 1)
    assert document["metrics"] == []
    again = record(folder / "runs" / "small-reproduced")
    assert [one["epoch"] for one in again.epochs] == [1]
    assert again.metadata["reproduces"]["run"] == str(folder / "runs" / "small")
    assert again.config["epochs"] == 2


def test_finished_run_is_not_reproduced_by_another_seed(machine: None, finished: Any, folder: Path) -> None:
    shutil.copytree(finished.folder, folder / "runs" / "small")
    result = reproduce("small", "-q", "--set", "seed=1", "-o", "other", code=3)
    assert "runs/small is not reproduced by other" in result.stdout
    assert "weights: they differ at step" in result.stdout
    assert "config  seed  0 -> 1" in result.stdout


def test_changed_data_exits_with_4_before_training(machine: None, finished: Any, folder: Path) -> None:
    run = folder / "runs" / "small"
    shutil.copytree(finished.folder, run)
    metadata = json.loads((run / "meta.json").read_text())
    (run / "meta.json").write_text(json.dumps(metadata | {"data": "00" * 32}))
    assert "the data has changed since runs/small was trained" in reproduce("small", "-q", code=4).stderr
    assert not (folder / "runs" / "small-reproduced").exists()


# Without TensorFlow


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            [{"key": "optimizer.learning_rate", "before": 0.1, "now": 0.2}],
            "another `optimizer.learning_rate` at step 7",
        ),
        ([{"key": "data", "before": "a", "now": "b"}], "other data at step 7"),
        ([{"key": "epochs", "before": 1, "now": 3}, {"key": "dataset.path", "before": "a", "now": "b"}], None),
    ],
)
def test_run_that_a_resume_has_changed_is_refused(folder: Path, changes: list[Any], reason: str | None) -> None:
    run = write_run(folder / "runs" / "a", meta={"resumed": [{"step": 7, "changes": changes}]})
    if reason:
        assert reason in reproduce("a", code=2).stderr
    else:
        assert plan(record(run)) == Plan(3, finished=True)


def test_run_without_a_completed_epoch_is_refused(folder: Path) -> None:
    write_run(folder / "runs" / "a", (), reason="SIGINT")
    assert "stopped before the end of its first epoch" in reproduce("a", code=2).stderr


def test_damaged_run_is_refused(folder: Path) -> None:
    (write_run(folder / "runs" / "a") / "summary.json").write_text("{")
    assert "runs/a is damaged: summary.json" in reproduce("a", code=2).stderr


def test_run_with_code_needs_trust_code(folder: Path) -> None:
    write_run(folder / "runs" / "a", meta={"code": {"m.py": "aa" * 32}})
    assert "--trust-code" in reproduce("a", code=2).stderr


def test_output_that_is_not_empty_is_refused(folder: Path) -> None:
    write_run(folder / "runs" / "a")
    assert "is not an empty folder" in reproduce("a", "-o", "runs", code=2).stderr


def test_outcome_has_every_number_that_differs(folder: Path) -> None:
    before = record(write_run(folder / "runs" / "a", (0.5, 0.75)))
    same = record(write_run(folder / "runs" / "b", (0.5, 0.75)))
    other = write_run(folder / "runs" / "c", (0.5, 0.7500000000000001), test=0.86, meta={"cpu_flags": ["avx2"]})
    what = Plan(2, finished=True)
    assert outcome(before, same, what).equal
    found = outcome(before, record(other), what)
    assert not found.equal
    assert [(one.where, one.metric) for one in found.metrics] == [
        ("epoch 2", "validation/accuracy"), ("evaluation", "test/accuracy"),
    ]  # fmt: skip
    assert [(one.kind, one.key) for one in found.differences] == [("machine", "cpu_flags")]


def test_missing_epochs_are_not_equal(folder: Path) -> None:
    before = record(write_run(folder / "runs" / "a", (0.5, 0.75)))
    shorter = record(write_run(folder / "runs" / "b", (0.5,)))
    assert not outcome(before, shorter, Plan(2, finished=True)).equal
