"""Which epoch is the best, and when it is time to stop: what a run learns from its validation."""

import math
from dataclasses import dataclass

from tfloop_cli.config import Best, Config, EarlyStopping
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Task
from tfloop_cli.errors import TfloopError
from tfloop_cli.events import Metrics


@dataclass(frozen=True)
class Watched:
    """A validation metric and its good direction, "max" or "min"."""

    metric: str
    mode: str

    def better(self, value: float, than: float, by: float = 0.0) -> bool:
        """Whether `value` is better by more than `by`; any number is better than NaN."""
        return (math.isnan(than) and not math.isnan(value)) or (
            value > than + by if self.mode == "max" else value < than - by
        )


class Judge:
    """Judges each epoch by its validation; what it remembers is in the state, so that a resumed run judges alike.

    Args:
        task: its metrics, and the one that it finds best.
        config: `checkpoint.best` and `early_stopping`.

    Raises:
        TfloopError: the config names a metric that the task does not measure (exit code 2).
    """

    def __init__(self, task: Task, config: Config) -> None:
        self._stopping = config.early_stopping
        self._best = watched(config.checkpoint.best, task, "checkpoint.best")
        self._stop = watched(config.early_stopping, task, "early_stopping")
        if self._stopping and not self._stop:
            raise TfloopError(
                f"`early_stopping` needs a metric to watch; task `{config.task.name}` names none of its own",
                hint=f"set `early_stopping.metric` to one of {', '.join(task.metrics)}",
            )

    def is_best(self, state: TrainState, validation: Metrics | None) -> bool:
        """Whether this epoch is the best so far, which the state then remembers."""
        if not validation or not self._best:
            return False
        value = validation[self._best.metric]
        if better := self._best.better(value, float(state.best)):
            state.best.assign(value)
            state.best_step.assign(state.step)
        return better

    def count(self, state: TrainState, validation: Metrics | None) -> None:
        """Counts the epochs since the last improvement, for early stopping."""
        if not validation or not self._stopping or not self._stop:
            return
        value, (best, waited) = validation[self._stop.metric], state.patience.numpy().tolist()
        improved = self._stop.better(value, best, self._stopping.min_delta)
        state.patience.assign([value, 0] if improved else [best, waited + 1])

    def enough(self, state: TrainState) -> bool:
        """Whether early stopping says to stop."""
        return self._stopping is not None and float(state.patience[1]) >= self._stopping.patience_epochs


def watched(part: Best | EarlyStopping | None, task: Task, key: str) -> Watched | None:
    """The metric that a part of the config names, or else the task's own."""
    if part is None or (part.metric is None and task.monitor is None):
        return None
    own_metric, own_mode = task.monitor or (None, None)
    metric = part.metric or str(own_metric)
    if metric not in task.metrics:
        raise TfloopError(
            f"`{key}.metric`: the task does not measure `{metric}`", hint=f"it measures {', '.join(task.metrics)}"
        )
    mode = part.mode or (own_mode if metric == own_metric else "max" if "accuracy" in metric else "min")
    return Watched(metric, str(mode))
