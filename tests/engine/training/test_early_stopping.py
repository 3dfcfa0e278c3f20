"""The metric that chooses the best epoch and stops early, and whether higher or lower values are better."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import pytest

from tfloop_cli.config.loading import from_mapping
from tfloop_cli.config.sections import Best, EarlyStoppingConfig
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.training.early_stopping import BestMetric, EarlyStopping, Monitor, monitor_of
from tfloop_cli.errors import ExitCode, TfloopError


@dataclass(frozen=True)
class FakeTask:
    """The attributes of a task that choose a monitor."""

    metrics: tuple[str, ...]
    monitor: tuple[str, str] | None = None
    eval_step: bool = True


@pytest.mark.parametrize(
    ("metric", "mode"),
    [
        ("top_3_accuracy", "max"),
        ("AUC", "max"),
        ("macro_f1", "max"),
        ("precision", "max"),
        ("recall_at_5", "max"),
        ("generator_loss", "min"),
        ("mean_squared_error", "min"),
    ],
)
def test_name_of_metric_gives_mode(metric: str, mode: str) -> None:
    task = FakeTask(("perplexity", metric), ("perplexity", "min"))
    assert monitor_of(EarlyStoppingConfig(metric=metric), task, "early_stopping") == Monitor(metric, mode)


@pytest.mark.parametrize("metric", ["bleu", "dice", "auc_loss"])
@pytest.mark.parametrize(("config", "key"), [(EarlyStoppingConfig, "early_stopping"), (Best, "checkpoint.best")])
def test_unclear_name_of_metric_needs_mode(metric: str, config: type, key: str) -> None:
    task = FakeTask(("loss", metric), ("loss", "min"))
    with pytest.raises(TfloopError, match=metric) as caught:
        monitor_of(config(metric=metric), task, key)
    assert caught.value.code == ExitCode.USAGE
    assert caught.value.problems[0].hint == f"set `{key}.mode` to `max` or `min`"
    assert monitor_of(config(metric=metric, mode="max"), task, key) == Monitor(metric, "max")


def test_default_metric_has_mode_of_task() -> None:
    task = FakeTask(("loss", "bleu"), ("bleu", "max"))
    for config in (Best(), Best(metric="bleu")):
        assert monitor_of(config, task, "checkpoint.best") == Monitor("bleu", "max")


def test_unknown_metric_is_usage_error() -> None:
    with pytest.raises(TfloopError, match="the task has no metric `auc`") as caught:
        monitor_of(Best(metric="auc"), FakeTask(("loss",), ("loss", "min")), "checkpoint.best")
    assert caught.value.code == ExitCode.USAGE


def test_no_metric_has_no_monitor() -> None:
    assert monitor_of(None, FakeTask(("loss",), ("loss", "min")), "checkpoint.best") is None
    assert monitor_of(Best(), FakeTask(("loss",)), "checkpoint.best") is None


# Ties

Epochs = Iterable[dict[str, float]]  # validation metrics of each epoch
NAN = math.nan


def epochs_of(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    """Returns validation metrics from pairs of accuracy and loss."""
    return [{"accuracy": accuracy, "loss": loss} for accuracy, loss in pairs]


def resumed(state: TrainState) -> TrainState:
    """Returns a new state with what a checkpoint of `state` contains."""
    new = TrainState(state.models, state.metrics, state.seed)
    for name, variable in new.variables().items():
        variable.assign(state.variables()[name])
    return new


def follow(epochs: Epochs, metric: str = "accuracy", **early_stopping: Any) -> Iterator[tuple[bool, int]]:
    """Yields for each epoch: whether it is the best so far, and the epochs without improvement.

    Each epoch is trained by a resumed run.
    """
    task = FakeTask(("loss", "accuracy"), (metric, "min" if metric == "loss" else "max"))
    config = from_mapping({"dataset": "mnist", "model": "linear", "early_stopping": early_stopping}, "a test")
    best_metric, stopping = BestMetric(task, config), EarlyStopping(task, config)
    state = TrainState({"model": keras.Sequential()}, task.metrics, 0)
    for validation in epochs:
        state = resumed(state)
        state.step.assign_add(10)
        is_best = best_metric.update(state, validation)
        stopping.update(state, validation)
        assert (int(state.best_step) == int(state.step)) is is_best
        yield is_best, int(state.early_stopping[1])


def test_equal_accuracy_is_decided_by_loss_then_by_later_epoch() -> None:
    epochs = epochs_of((0.8, 0.9), (0.8, 0.7), (0.8, 0.75), (0.8, 0.7), (0.7, 0.1), (0.9, 2.0), (0.9, 2.1))
    assert [is_best for is_best, _ in follow(epochs)] == [True, True, False, True, False, True, False]


def test_equal_loss_as_metric_is_decided_by_later_epoch() -> None:
    epochs = epochs_of((0.8, 0.5), (0.7, 0.5), (0.9, 0.6))
    assert list(follow(epochs, "loss")) == [(True, 0), (True, 1), (False, 2)]


def test_equal_metric_without_loss_is_decided_by_later_epoch() -> None:
    epochs = [{"accuracy": 0.5}, {"accuracy": 0.5}, {"accuracy": 0.4}]
    assert list(follow(epochs)) == [(True, 0), (True, 1), (False, 2)]


def test_loss_that_is_nan_loses_ties() -> None:
    assert [best for best, _ in follow(epochs_of((0.5, 1), (0.5, NAN)))] == [True, False]
    assert [best for best, _ in follow(epochs_of((0.5, NAN), (0.5, NAN), (0.5, 9)))] == [True, True, True]
    assert [best for best, _ in follow(epochs_of((NAN, 1), (NAN, 1), (0.1, 9)))] == [False, False, True]


def test_falling_loss_at_equal_accuracy_is_progress_for_early_stopping() -> None:
    epochs = epochs_of((0.8, 0.9), (0.8, 0.9), (0.8, 0.7), (0.8, 0.8), (0.8, 0.6), (0.7, 0.1), (0.8, 0.5))
    assert [count for _, count in follow(epochs)] == [0, 1, 0, 1, 0, 1, 0]


def test_min_delta_counts_the_metric_alone() -> None:
    epochs = epochs_of((0.8, 0.9), (0.8, 0.5), (0.85, 0.4), (0.95, 0.9))
    assert [count for _, count in follow(epochs, min_delta=0.1)] == [0, 1, 2, 0]


def test_state_with_nan_as_best_starts_anew() -> None:
    """A resume with another metric resets the best value only; the loss of the earlier best epoch must not matter."""
    task = FakeTask(("loss", "accuracy"), ("accuracy", "max"))
    config = from_mapping({"dataset": "mnist", "model": "linear", "early_stopping": {}}, "a test")
    state = TrainState({"model": keras.Sequential()}, task.metrics, 0)
    best_metric, stopping = BestMetric(task, config), EarlyStopping(task, config)
    for accuracy, loss in ((0.9, 0.1), (0.5, 0.7)):
        state.best.assign(NAN)
        state.early_stopping.assign([NAN, 0])
        stopping.update(state, {"accuracy": accuracy, "loss": loss})
        assert best_metric.update(state, {"accuracy": accuracy, "loss": loss})
        assert state.early_stopping.numpy().tolist() == [accuracy, 0]
        assert (float(state.best_loss), float(state.early_stopping_loss)) == (loss, loss)
