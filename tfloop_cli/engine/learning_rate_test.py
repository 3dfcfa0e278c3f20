"""The learning rate range test (Smith 2017, arXiv:1506.01186): the loss at rates that grow with each step."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tfloop_cli.engine.trial import Trial
from tfloop_cli.errors import ExitCode, TfloopError

SMOOTHING = 0.9  # decay of the moving average of the loss
EXPLODED = 4.0  # times the lowest smoothed loss, at which the test ends
MIN_POINTS = 10  # that a suggestion needs


@dataclass(frozen=True)
class Point:
    """One training step.

    Attributes:
        learning_rate: of the step.
        loss: of its batch, before the update.
        smoothed: moving average of the losses so far, without the bias towards 0.
    """

    learning_rate: float
    loss: float
    smoothed: float


def range_test(trial: Trial, low: float, high: float, steps: int) -> Iterator[Point]:
    """Trains one step at each of some learning rates, which grow by a constant factor, until the loss explodes.

    Args:
        trial: at step 0; it is trained in place. Its schedule is constant.
        low, high: the first and the last learning rate.
        steps: the number of rates.

    Raises:
        TfloopError: the task has no metric `loss`, or no single learning rate (exit code 2).
    """
    rate = trial.learning_rate()
    if "loss" not in trial.state.metrics:
        raise TfloopError(f"the task `{trial.config.task.name}` has no metric `loss`, only {trial.state.metrics}")
    average, lowest = 0.0, math.inf
    for step in range(steps):
        now = low * (high / low) ** (step / max(steps - 1, 1))
        rate.assign(now)
        try:
            trial.run(1)
        except TfloopError as error:
            if error.code != ExitCode.DIVERGED:
                raise
            return
        loss = trial.metrics()["loss"]
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed = average / (1 - SMOOTHING ** (step + 1))
        if not math.isfinite(smoothed) or (step >= MIN_POINTS and smoothed > EXPLODED * lowest > 0):
            return
        lowest = min(lowest, smoothed)
        yield Point(now, loss, smoothed)


def suggestion(points: Sequence[Point]) -> float | None:
    """Returns a learning rate in the steep part of the curve; None if the loss does not fall.

    It is the middle of the longest valley, as in fastai's `valley`: the longest sequence of losses each lower than the
    one before it, not necessarily one step after another.
    """
    losses = [point.smoothed for point in points]
    if len(losses) < MIN_POINTS:
        return None
    lengths = [1] * len(losses)
    for last, loss in enumerate(losses):
        lengths[last] += max((lengths[first] for first in range(last) if loss < losses[first]), default=0)
    end = max(range(len(losses)), key=lambda index: (lengths[index], -index))
    if lengths[end] < len(losses) // 10 + 2:
        return None
    start = max(end - lengths[end], 0)
    return points[start + (end - start) // 2].learning_rate


def curve(trial: Trial, low: float, high: float, steps: int, progress: Callable[[str, int, int], None]) -> list[Point]:
    """Returns the points of a range test, and shows how far it is."""
    points = []
    progress("learning rates", 0, steps)
    try:
        for point in range_test(trial, low, high, steps):
            points.append(point)
            progress("learning rates", len(points), steps)
    finally:  # the loss may end the test before the last step
        progress("learning rates", steps, steps)
    return points
