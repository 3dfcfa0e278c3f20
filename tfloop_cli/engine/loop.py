"""THE loop: for each epoch, for each batch, one training step; then a pass over the validation set.

It is two loops. The inner one is compiled and takes some steps at a call; the outer one is this generator, which yields
what happened. It knows no disk, no screen and no kind of model: whoever consumes the events saves, records and draws.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator

import tensorflow as tf

from tfloop_cli.config import Config
from tfloop_cli.engine.data import Data
from tfloop_cli.engine.evaluation import Evaluation, Evaluator
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Task, Values
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import EpochDone, Event, Metrics, Progress

SECONDS_PER_CALL = 0.2  # so that the screen moves, and Ctrl-C is heard, five times a second


def fit(state: TrainState, data: Data, task: Task, config: Config) -> Iterator[Event]:
    """Trains `state` until its epochs are done.

    Args:
        state: trained in place; where it stands (step, epoch) is where training goes on.
        data: training batches by number, and the validation split.
        task: what one batch means.
        config: epochs, steps_per_call, compile, on_nonfinite.

    Yields:
        Progress after each call of the inner loop, EpochDone after each epoch's validation. The state is at rest then.

    Raises:
        TfloopError: a number was not finite (exit code 5).
    """
    steps = data.steps_per_epoch
    batches = iter(data.batches(int(state.step), config.epochs * steps))
    train_steps = compile_steps(task, state, config.compile == "xla")
    evaluator = Evaluator(state, data, task)
    pace = Pace(config.steps_per_call)

    for epoch in range(int(state.epoch) + 1, config.epochs + 1):
        started = time.perf_counter()
        while (left := epoch * steps - int(state.step)) > 0:
            count = min(pace.steps, left)
            with pace:
                before = float(state.totals[-1])
                train_steps(batches, tf.constant(count, tf.int64))
                examples = float(state.totals[-1]) - before
            refuse_nonfinite(state, config)
            yield Progress(epoch, int(state.step), steps - left + count, means(state), examples / pace.seconds)
        train_seconds = time.perf_counter() - started

        train, examples = means(state), float(state.totals[-1])
        started = time.perf_counter()
        validation = yield from validate(evaluator, data, epoch, state)
        best = close_epoch(state, task, epoch, validation)
        yield EpochDone(
            epoch=epoch,
            step=int(state.step),
            train=train,
            validation=validation,
            train_seconds=train_seconds,
            validation_seconds=time.perf_counter() - started,
            examples_per_second=examples / max(train_seconds, 1e-9),
            best=best,
        )


def compile_steps(task: Task, state: TrainState, xla: bool) -> Callable[[Iterator, tf.Tensor], None]:
    """The inner loop: `count` training steps in one call of a compiled function."""
    one_step = tf.function(task.train_step, jit_compile=True) if xla else task.train_step

    @tf.function
    def train_steps(batches: Iterator, count: tf.Tensor) -> None:
        totals = tf.zeros_like(state.totals)
        for _ in tf.range(count):
            values = one_step(state, next(batches))
            totals += sums(values)
            state.step.assign_add(1)
        state.totals.assign_add(totals)

    return train_steps


def sums(values: Values) -> tf.Tensor:
    """Each metric's sum over the batch and, last, the number of examples: float64 [metrics + 1]."""
    columns = [tf.cast(value, tf.float64) for value in values.values()]  # each [batch]
    return tf.reduce_sum(tf.stack([*columns, tf.ones_like(columns[0])]), axis=1)


def means(state: TrainState) -> Metrics:
    """The running epoch's metrics: means over its examples so far."""
    *totals, examples = state.totals.numpy().tolist()
    return {name: total / max(examples, 1.0) for name, total in zip(state.metrics, totals, strict=True)}


def validate(evaluator: Evaluator, data: Data, epoch: int, state: TrainState) -> Generator[Event, None, Metrics | None]:
    """A pass over the validation split; returns its metrics, None where nothing is held out."""
    examples = data.examples("validation")
    if not examples:
        return None
    parts: list[Values] = []
    for chunk in evaluator.chunks("validation", SECONDS_PER_CALL):
        parts += chunk
        done = Evaluation.of("validation", parts)
        yield Progress(epoch, int(state.step), done.examples, done.metrics, 0.0, "validation", examples)
    return Evaluation.of("validation", parts).metrics


def close_epoch(state: TrainState, task: Task, epoch: int, validation: Metrics | None) -> bool:
    """Counts the epoch as done and clears its sums; returns whether its validation is the best so far."""
    state.epoch.assign(epoch)
    state.totals.assign(tf.zeros_like(state.totals))
    if not validation or not task.monitor:
        return False
    metric, mode = task.monitor
    value, best = validation[metric], float(state.best)
    better = math.isnan(best) or (value > best if mode == "max" else value < best)
    if better:
        state.best.assign(value)
        state.best_epoch.assign(epoch)
    return better


def refuse_nonfinite(state: TrainState, config: Config) -> None:
    """Raises TfloopError if an update was refused and the config says to stop then."""
    refused, step = state.bad.numpy().tolist()
    if refused and config.on_nonfinite == "stop":
        epoch_hint = "lower `optimizer.learning_rate`, set `clip_norm: 1.0`, or `on_nonfinite: skip` to go on without such batches"
        raise TfloopError(
            f"training diverged: the loss or a gradient of step {step + 1} is not a finite number",
            hint=epoch_hint,
            code=ExitCode.DIVERGED,
        )


class Pace:
    """How many steps the next call takes: as many as fit in `SECONDS_PER_CALL`, by the last call's time.

    Only when the loop looks up depends on it, not what is computed.

    Args:
        steps_per_call: a fixed number, or "auto".
    """

    def __init__(self, steps_per_call: int | str) -> None:
        self.fixed = steps_per_call != "auto"
        self.steps = int(steps_per_call) if self.fixed else 1
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self.seconds = max(time.perf_counter() - self._started, 1e-9)
        if not self.fixed:
            # The first call traces and says nothing about the next: the pace may grow fast, and never by a wild guess.
            self.steps = min(max(1, round(self.steps * SECONDS_PER_CALL / self.seconds)), self.steps * 8)
