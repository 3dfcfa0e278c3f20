"""Guarantee: a changed config of a resumed run takes effect exactly, or is refused.

`python -m benchmarks.resume_property` has ten times as many random changes.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfloop_cli.errors import ExitCode, TfloopError

SMALL = {"epochs": 3, "steps_per_execution": 1, "validation": 0, "batch_size": 8}


@pytest.fixture(autouse=True)
def single_threaded_tensorflow(machine: None) -> None:
    """Starts TensorFlow before the first test, whichever that is."""


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that saves a trainer's state, with the facts of its manifest."""
    from tfloop_cli.engine.checkpoints.storage import write_checkpoint

    def save(run: Any) -> Path:
        return write_checkpoint(tmp_path / "checkpoints", run.state.snapshot(), facts_of(run))

    return save


def facts_of(run: Any) -> dict[str, Any]:
    from tfloop_cli.engine.training.early_stopping import BestMetric, EarlyStopping
    from tfloop_cli.runs.metadata import manifest_facts

    best, early_stopping = BestMetric(run.task, run.config), EarlyStopping(run.task, run.config)
    return manifest_facts(run.config, {"run_id": "one"}, 1, run.data.facts | best.facts | early_stopping.facts)


def restore(run: Any, checkpoint: Path) -> list[str]:
    """Restores a checkpoint as a resumed run does; returns the warnings, and what has changed in the state."""
    from tfloop_cli.engine.checkpoints.manager import CheckpointManager

    warnings: list[str] = []
    facts, saving = facts_of(run), run.config.checkpoint
    manager = CheckpointManager(checkpoint.parent, run.state, saving, facts, warnings.append)
    manager.restore(None)
    return warnings + manager.changes


def data_of(examples: int, **splits: int) -> Any:
    """Returns a dataset whose more examples begin with the same ones."""
    from tfloop_cli.engine.data import from_arrays

    inputs = np.random.default_rng(0).standard_normal((100, 8, 8, 1), np.float32)
    labels = (inputs[:, 0, 0, 0] > 0).astype(np.int64)
    sizes = {"train": examples, **splits}
    return from_arrays({name: (inputs[:size], labels[:size]) for name, size in sizes.items()})


def test_random_changes_take_effect_exactly_or_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import resume_property

    monkeypatch.setattr(resume_property, "CASES_PER_CONFIG", 10)
    with resume_property.growing_dataset():
        cases = list(resume_property.run_cases(20, 2, tmp_path))
    assert [f"{case}: {wrong}" for case, wrong in cases if wrong] == []
    assert 4 <= sum(case.refused is not None for case, _ in cases) <= 16


def test_new_learning_rate_takes_effect_and_that_of_a_task_is_kept(trainer, save) -> None:
    """The divergence error says "lower `optimizer.learning_rate`"; a task may also change the rate by itself."""
    first = trainer(**SMALL, optimizer={"name": "sgd", "learning_rate": 0.5})
    first.fit_until(2)
    first.state.optimizer.inner.learning_rate = 0.25
    saved = save(first)
    for rate, expected in ((0.0, 0.0), (0.5, 0.25)):
        second = trainer(**SMALL, optimizer={"name": "sgd", "learning_rate": rate})
        restore(second, saved)
        assert float(second.state.optimizer.inner.learning_rate) == expected
    frozen = trainer(**SMALL, optimizer={"name": "sgd", "learning_rate": 0.0})
    restore(frozen, saved)
    before = frozen.weights()
    frozen.fit()
    assert [weight.tobytes() for weight in frozen.weights()] == [weight.tobytes() for weight in before]


def test_best_epoch_and_patience_start_anew_for_another_metric(trainer, save) -> None:
    changes = SMALL | {"validation": 12, "early_stopping": {"patience_epochs": 9}, "ema_decay": 0.5}
    first = trainer(**changes)
    first.fit_until(2 * first.data.steps_per_epoch + 1)
    saved, best = save(first), float(first.state.best)
    assert not np.isnan(best)
    for change, names in {
        "another": ({"checkpoint": {"best": {"metric": "loss"}}}, ["best epoch"]),
        "none": ({"checkpoint": {"best": None}}, ["best epoch"]),
        "mode": ({"checkpoint": {"best": {"mode": "min"}}}, ["best epoch"]),
        "patience": ({"early_stopping": {"metric": "loss"}}, ["early stopping"]),
        "no patience": ({"early_stopping": None}, []),
        "EMA": ({"ema_decay": None}, ["best epoch", "early stopping"]),
        "same": ({"checkpoint": {"best": {"metric": "accuracy"}}, "ema_decay": 0.9}, []),
    }.values():
        second = trainer(**changes | change)
        lines = restore(second, saved)
        anew = {"best epoch": "the best epoch is chosen anew", "early stopping": "early stopping starts anew"}
        assert [name for name, start in anew.items() if any(line.startswith(start) for line in lines)] == names
        assert np.isnan(float(second.state.best)) == ("best epoch" in names)
        assert int(second.state.best_step) == (-1 if "best epoch" in names else int(first.state.best_step))
        anew = "early stopping" in names or second.config.early_stopping is None
        assert np.isnan(float(second.state.early_stopping[0])) == anew


def test_new_ema_starts_with_the_weights(trainer, save) -> None:
    first = trainer(**SMALL)
    first.fit_until(3)
    second = trainer(**SMALL, ema_decay=0.9)
    restore(second, save(first))
    averages = [average.numpy() for average in second.state.optimizer.ema]
    assert [one.tobytes() for one in averages] == [one.tobytes() for one in second.weights()]


def test_larger_max_steps_trains_more_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """config.yaml had the epochs that `max_steps` allowed in place of those of the config."""
    from typer.testing import CliRunner

    from tfloop_cli.cli import app

    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text("dataset: {name: synthetic, shape: [4], train_examples: 80}\nmodel: linear\nepochs: 9\n")
    start = "train c.yaml -o run -q --json --set batch_size=8 --set validation=0 --set max_steps=20"
    for command, step in ((start, 20), ("resume run --json --set max_steps=35", 30)):
        result = CliRunner().invoke(app, command.split())
        assert result.exit_code == 0, result.stderr
        start_document, *_, last_epoch, _, _ = map(json.loads, result.stdout.splitlines())
        assert (start_document["config"]["epochs"], last_epoch["step"]) == (9, step)
    assert "epochs: 9\n" in Path("run/config.yaml").read_text()


# More data


def test_more_data_between_two_epochs_makes_longer_epochs(trainer, save) -> None:
    first = trainer(own=data_of(20), **SMALL)
    assert any(int(first.state.epoch) == 1 for _ in first.events())
    assert int(first.state.step) == 3
    second = trainer(own=data_of(41), **SMALL)
    assert any("41 training examples" in line for line in restore(second, save(first)))
    events = list(second.events())
    assert [event.step for event in events if hasattr(event, "train")] == [3 + 6, 3 + 12]
    trained = [
        np.concatenate([second.data.examples_of(step) for step in steps]) for steps in (range(3, 9), range(9, 15))
    ]
    assert [sorted(one) for one in trained] == [list(range(41))] * 2
    assert np.array_equal(trained[0], second.data.order(1))  # the number of the epoch is not that of the new length
    # A later resume, within the longer epoch, continues the same batches.
    third, again = trainer(own=data_of(41), **SMALL), trainer(own=data_of(41), **SMALL)
    restore(third, save(first))
    third.fit_until(3 + 6 + 2)
    restore(again, save(third))
    again.fit()
    assert again.state.weights_sha256() == second.state.weights_sha256()


@pytest.mark.parametrize(
    ("max_steps", "position", "epochs", "steps"),
    [
        (None, (5, 100), 9, 100 + 4 * 6),  # of data that has grown, the schedule had 9 times the new length
        (None, (12, 100), 9, 9 * 6),
        (112, (5, 100), 7, 112),  # the limit was 112 // 6 epochs
        (112, (5, 15), 9, 15 + 4 * 6),
        (30, (5, 15), 7, 15 + 2 * 6),
        (30, (5, 100), 5, 100),  # trained already
    ],
)
def test_length_of_a_run_counts_earlier_epochs_as_they_were(
    trainer, max_steps: int | None, position: tuple[int, int], epochs: int, steps: int
) -> None:
    from tfloop_cli.engine.training.setup import limit_epochs

    run = trainer(own=data_of(41), **SMALL | {"epochs": 9, "max_steps": max_steps})
    config = limit_epochs(run.config, run.data, position, [].append)
    assert (config.epochs, run.data.first_step(config.epochs)) == (epochs, steps)


@pytest.mark.parametrize(
    ("steps", "splits", "validation", "message"),
    [
        (2, {}, 0, "in the middle of epoch 1"),
        (3, {"validation": 9}, 5, "would be held out for test or validation"),
    ],
)
def test_data_of_another_size_is_refused_clearly(
    trainer, save, steps: int, splits: dict[str, int], validation: int, message: str
) -> None:
    changes = SMALL | {"validation": validation}
    first = trainer(own=data_of(20, **splits), **changes)
    first.fit_until(steps)
    saved = save(first)
    with pytest.raises(TfloopError, match=message) as caught:
        restore(trainer(own=data_of(12, **splits), **changes), saved)
    assert caught.value.code == ExitCode.USAGE
    assert "`dataset` has" in str(caught.value)
    assert "start a new run" in str(caught.value)


def test_data_that_changes_the_model_is_named_as_the_cause(trainer, save) -> None:
    from tfloop_cli.engine.data import from_arrays

    inputs = np.zeros((20, 8, 8, 1), np.float32)
    first, second = (
        trainer(own=from_arrays({"train": (inputs, np.arange(20) % classes)}), **SMALL) for classes in (3, 4)
    )
    saved = save(first)
    with pytest.raises(TfloopError, match="has changed since: its classes") as caught:
        restore(second, saved)
    assert caught.value.code == ExitCode.CHECKPOINT
