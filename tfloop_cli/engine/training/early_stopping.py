"""Which epoch is the best, and when to stop early, by a validation metric."""

import math
from dataclasses import dataclass

from tfloop_cli.config.schema import Config
from tfloop_cli.config.sections import Best, EarlyStoppingConfig
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Task, evaluated_metrics
from tfloop_cli.errors import TfloopError
from tfloop_cli.events import Metrics
from tfloop_cli.metric_modes import mode_of


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


def loss_of(validation: Metrics) -> float:
    """Returns the validation loss, which decides between epochs with an equal metric; NaN if there is none."""
    return validation.get("loss", math.nan)


class BestMetric:
    """Finds the best epoch: the best metric; if that is equal, the lower validation loss; then the later epoch.

    A small validation split has few different accuracies: the first epoch that reaches one is hardly trained.
    Best value and loss are part of the training state, so that a resumed run has them too.

    Args:
        task: its metrics, and the one that it monitors by default.
        config: `checkpoint.best`.

    Attributes:
        facts: what metadata contains about the metric.

    Raises:
        TfloopError: the task does not have the metric, or its mode is unknown (exit code 2).
    """

    def __init__(self, task: Task, config: Config) -> None:
        self._monitor = monitor_of(config.checkpoint.best, task, "checkpoint.best")
        self.facts = {"best_metric": _text(self._monitor, config)}

    def update(self, state: TrainState, validation: Metrics | None) -> bool:
        """Updates `best`, `best_loss` and `best_step` of `state`; returns whether this epoch is the best so far."""
        if not validation or not self._monitor:
            return False
        value, loss = validation[self._monitor.metric], loss_of(validation)
        best, best_loss = float(state.best), float(state.best_loss)
        wins_tie = value == best and (math.isnan(best_loss) or loss <= best_loss)
        if is_best := wins_tie or self._monitor.improves(value, best):
            state.best.assign(value)
            state.best_loss.assign(loss)
            state.best_step.assign(state.step)
        return is_best


class EarlyStopping:
    """Stops the run when a validation metric has stopped improving. Its counter is part of the training state.

    With `min_delta: 0`, a lower validation loss at an equal metric is an improvement too: an accuracy of few examples
    is equal in many epochs in which the model still learns.

    Args:
        task: its metrics, and the one that it monitors by default.
        config: `early_stopping`.

    Attributes:
        facts: what metadata contains about the metric.

    Raises:
        TfloopError: there is no metric to monitor, the task does not have it, or its mode is unknown (exit code 2).
    """

    def __init__(self, task: Task, config: Config) -> None:
        self._config = config.early_stopping
        self._monitor = monitor_of(config.early_stopping, task, "early_stopping")
        self.facts = {"early_stopping_metric": _text(self._monitor, config)}
        if self._config and not self._monitor:
            raise TfloopError(
                f"`early_stopping` needs a metric to monitor; task `{config.task.name}` has no default",
                hint=_metrics_hint(task, "set `early_stopping.metric` to one of"),
            )

    def update(self, state: TrainState, validation: Metrics | None) -> None:
        """Updates `early_stopping` and `early_stopping_loss` of `state`.

        Without validation metrics, nothing changes.
        """
        if not validation or not self._config or not self._monitor:
            return
        value, (best, epochs) = validation[self._monitor.metric], state.early_stopping.numpy().tolist()
        loss, min_delta = loss_of(validation), self._config.min_delta
        lower_loss = value == best and loss < float(state.early_stopping_loss) and not min_delta
        if lower_loss or self._monitor.improves(value, best, min_delta):
            state.early_stopping.assign([value, 0])
            state.early_stopping_loss.assign(loss)
        else:
            state.early_stopping.assign([best, epochs + 1])

    def should_stop(self, state: TrainState) -> bool:
        """Whether the patience is used up."""
        return self._config is not None and float(state.early_stopping[1]) >= self._config.patience_epochs


def _text(monitor: Monitor | None, config: Config) -> str | None:
    """Returns what is compared; a resumed run may compare another value."""
    weights = " of the EMA weights" if config.ema_decay else ""
    return f"{monitor.mode} {monitor.metric}{weights}" if monitor else None


def monitor_of(config: Best | EarlyStoppingConfig | None, task: Task, key: str) -> Monitor | None:
    """Returns the metric that a part of the config names, else the task's default; None if there is neither.

    The mode is that of the config; else, for the task's default metric, the task's; else that of its name.

    Args:
        config: metric and mode; None for no metric.
        task: its metrics, and the one that it monitors by default.
        key: the config key of `config`, for messages.

    Raises:
        TfloopError: the task has no such metric; or the config has no mode, and the name of the metric does not contain
            exactly one of `metric_modes.MODES` (exit code 2).
    """
    if config is None or (config.metric is None and task.monitor is None):
        return None
    default_metric, default_mode = task.monitor or (None, None)
    metric = config.metric or str(default_metric)
    if metric not in evaluated_metrics(task):
        raise TfloopError(
            f"`{key}.metric`: the task has no metric `{metric}`",
            hint=_metrics_hint(task, "its metrics are"),
        )
    mode = config.mode or (default_mode if metric == default_metric else mode_of(metric))
    if mode is None:
        raise TfloopError(
            f"`{key}.mode` is missing: the name of the metric `{metric}` does not show if higher values are better",
            hint=f"set `{key}.mode` to `max` or `min`",
        )
    return Monitor(metric, mode)


def _metrics_hint(task: Task, text: str) -> str:
    metrics = evaluated_metrics(task)
    return f"{text} {', '.join(metrics)}" if metrics else "the task has no `eval_step`, so that nothing is evaluated"
