"""The metric that chooses the best epoch and stops early, and whether higher or lower values are better."""

from dataclasses import dataclass

import pytest

from tfloop_cli.config.schema import Best, EarlyStoppingConfig
from tfloop_cli.engine.training.early_stopping import Monitor, monitor_of
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
