"""Which epoch is the best, and when to stop early, by a validation metric."""

import math
from dataclasses import dataclass

from tfloop_cli.config.schema import Best, Config, EarlyStoppingConfig
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Task, evaluated_metrics
from tfloop_cli.errors import TfloopError
from tfloop_cli.events import Metrics


@dataclass(frozen=True)
class Monitor:
    """A validation metric, and whether higher ("max") or lower ("min") values are better."""

    metric: str
    mode: str

    def improves(self, value: float, best: float, min_delta: float = 0.0) -> bool:
        """Whether `value` is better than `best` by more than `min_delta`; any number is better than NaN."""
        return (math.isnan(best) and not math.isnan(value)) or (
            value > best + min_delta if self.mode == "max" else value < best - min_delta
        )


class BestMetric:
    """Finds the best epoch. The best value is part of the training state, so that a resumed run has it too.

    Args:
        task: its metrics, and the one that it monitors by default.
        config: `checkpoint.best`.

    Raises:
        TfloopError: the config names a metric that the task does not have (exit code 2).
    """

    def __init__(self, task: Task, config: Config) -> None:
        self._monitor = monitor_of(config.checkpoint.best, task, "checkpoint.best")

    def update(self, state: TrainState, validation: Metrics | None) -> bool:
        """Updates the best value in `state`; returns whether this epoch is the best so far."""
        if not validation or not self._monitor:
            return False
        value = validation[self._monitor.metric]
        if improved := self._monitor.improves(value, float(state.best)):
            state.best.assign(value)
            state.best_step.assign(state.step)
        return improved


class EarlyStopping:
    """Stops the run when a validation metric has stopped improving. Its counter is part of the training state.

    Args:
        task: its metrics, and the one that it monitors by default.
        config: `early_stopping`.

    Raises:
        TfloopError: there is no metric to monitor, or the task does not have it (exit code 2).
    """

    def __init__(self, task: Task, config: Config) -> None:
        self._config = config.early_stopping
        self._monitor = monitor_of(config.early_stopping, task, "early_stopping")
        if self._config and not self._monitor:
            raise TfloopError(
                f"`early_stopping` needs a metric to monitor; task `{config.task.name}` has no default",
                hint=_metrics_hint(task, "set `early_stopping.metric` to one of"),
            )

    def update(self, state: TrainState, validation: Metrics | None) -> None:
        """Counts the epochs since the last improvement in `state`."""
        if not validation or not self._config or not self._monitor:
            return
        value, (best, epochs) = validation[self._monitor.metric], state.patience.numpy().tolist()
        improved = self._monitor.improves(value, best, self._config.min_delta)
        state.patience.assign([value, 0] if improved else [best, epochs + 1])

    def should_stop(self, state: TrainState) -> bool:
        """Whether the patience is used up."""
        return self._config is not None and float(state.patience[1]) >= self._config.patience_epochs


def monitor_of(config: Best | EarlyStoppingConfig | None, task: Task, key: str) -> Monitor | None:
    """Returns the metric that a part of the config names, else the task's default; None if there is neither."""
    if config is None or (config.metric is None and task.monitor is None):
        return None
    default_metric, default_mode = task.monitor or (None, None)
    metric = config.metric or str(default_metric)
    if metric not in evaluated_metrics(task):
        raise TfloopError(
            f"`{key}.metric`: the task has no metric `{metric}` of an evaluation",
            hint=_metrics_hint(task, "its metrics are"),
        )
    mode = config.mode or (default_mode if metric == default_metric else "max" if "accuracy" in metric else "min")
    return Monitor(metric, str(mode))


def _metrics_hint(task: Task, text: str) -> str:
    metrics = evaluated_metrics(task)
    return f"{text} {', '.join(metrics)}" if metrics else "the task has no `eval_step`, so that nothing is evaluated"
