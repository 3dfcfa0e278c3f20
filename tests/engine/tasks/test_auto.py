"""`task: auto`: the targets decide, once per run."""

from pathlib import Path

import pytest

from tfloop_cli.config.loading import dump, from_mapping
from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.tasks import decide_task
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import Component
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.resume import reconcile, with_decisions

CLASSES = DataSpec((4,), "float32", (), ("a", "b"))
NUMBERS = DataSpec((4,), "float32", (2,))
CONFIG = {"dataset": "synthetic", "model": "linear"}


@pytest.mark.parametrize(
    ("spec", "name", "targets"), [(CLASSES, "classification", "classes"), (NUMBERS, "regression", "numbers")]
)
def test_targets_decide_the_task(spec: DataSpec, name: str, targets: str) -> None:
    lines: list[str] = []
    assert decide_task(Component("auto"), spec, lines.append) == from_mapping(CONFIG | {"task": name}, "a test").task
    assert lines == [f"task: {name}, since the targets are {targets} (key `task`)"]
    assert decide_task(Component("gan"), spec, lines.append) == Component("gan")
    assert len(lines) == 1


def test_run_keeps_the_decision(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(dump(from_mapping(CONFIG | {"task": "regression"}, "a test")))
    config, notes = reconcile(RunFolder(tmp_path), from_mapping(CONFIG, "a test"))
    assert (config.task.name, notes) == ("regression", [])


@pytest.mark.parametrize("task", ["gan", {"name": "classification", "loss": "focal"}])
def test_auto_is_not_a_task_that_it_cannot_have_decided(task) -> None:
    saved = from_mapping(CONFIG | {"task": task}, "a test")
    assert with_decisions(from_mapping(CONFIG, "a test"), saved).task == Component("auto")


def test_argument_without_a_task_is_answered_with_one() -> None:
    with pytest.raises(TfloopError, match=r"choose the task first: `task: .name: classification, label_smoothing"):
        from_mapping(CONFIG | {"task": {"name": "auto", "label_smoothing": 0.1}}, "a test")


def test_run_trains_with_the_task_that_suits_the_targets(trainer) -> None:
    run = trainer(dataset={"name": "synthetic", "shape": [3], "classes": 0}, epochs=1)
    assert run.config.task.name == "regression"
    assert run.fit()[0].train["loss"] > 0
