"""THE loop: for each epoch, for each batch, one training step; then a pass over the validation set.

It is two loops. The inner one is compiled and takes some steps at a call; the outer one is this generator, which yields
what happened. It knows no disk, no screen and no kind of model: whoever consumes the events saves, records and draws.
"""

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf

from tfloop_cli.config import Config
from tfloop_cli.engine.data import Data
from tfloop_cli.engine.evaluation import Evaluation, Evaluator
from tfloop_cli.engine.executor import InnerLoop, InOneThread, suits_one_thread
from tfloop_cli.engine.guard import Guard
from tfloop_cli.engine.judge import Judge
from tfloop_cli.engine.microbatches import in_micro_batches
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Batch, Task, Values, wants_autograph
from tfloop_cli.events import EpochDone, Event, Metrics, Progress, Stopped

SECONDS_PER_CALL = 0.2  # so that the screen moves, and Ctrl-C is heard, five times a second


def fit(state: TrainState, data: Data, task: Task, judge: Judge, config: Config) -> Iterator[Event]:
    """Trains `state` until its epochs are done.

    Args:
        state: trained in place; where it stands (step, epoch) is where training goes on.
        data: training batches by number, and the validation split.
        task: what one batch means.
        judge: says which epoch is best, and when it is enough.
        config: epochs, steps_per_call, compile, on_nonfinite.

    Yields:
        Progress after each call of the inner loop, EpochDone after each epoch's validation, Stopped at the end. The
        state is at rest at each of them, so the consumer may save it, or stop asking.

    Raises:
        TfloopError: a number was not finite (exit code 5).
    """
    steps = data.steps_per_epoch
    batches = data.feed(int(state.step), config.epochs * steps)
    guard = Guard(compile_steps(task, state, config), state, data, batches, stop=config.on_nonfinite == "stop")
    evaluator = Evaluator(state, data, task)
    pace = Pace(config.steps_per_call, config.checkpoint.every_steps)
    traces: list[int] = []

    for epoch in range(int(state.epoch) + 1, config.epochs + 1):
        if judge.enough(state):
            break
        guard.turn_to(epoch - 1)
        started, already = time.perf_counter(), float(state.totals[-1])
        while (left := epoch * steps - int(state.step)) > 0:
            with pace.call(int(state.step), left) as count:
                guard.take(count)
                epoch_means = means(state)
            rate = count * config.batch_size / pace.seconds
            yield Progress(epoch, int(state.step), steps - left + count, epoch_means, rate, "train", steps)
        train_seconds = time.perf_counter() - started
        traces.append(guard.traces)

        train, examples = means(state), float(state.totals[-1]) - already  # a resumed epoch is trained in part
        started = time.perf_counter()
        validation = yield from validate(evaluator, data, epoch, state)
        best = close_epoch(state, judge, epoch, validation)
        yield EpochDone(
            epoch=epoch,
            step=int(state.step),
            train=train,
            validation=validation,
            train_seconds=train_seconds,
            validation_seconds=time.perf_counter() - started,
            examples_per_second=examples / max(train_seconds, 1e-9),
            best=best,
            retraces=traces[-1] - traces[0],
            skipped_batches=int(state.bad[0]),
        )
    yield Stopped("early_stopping" if judge.enough(state) else "completed", int(state.step))


def compile_steps(task: Task, state: TrainState, config: Config) -> InnerLoop:
    """The inner loop, (batches, count) -> bool: `count` training steps in one call of a compiled function.

    What it returns is whether every number is still finite.
    """
    one_step, xla, autograph = task.train_step, config.compile == "xla", wants_autograph(task)
    if xla or autograph:
        one_step = tf.function(one_step, jit_compile=xla, autograph=autograph)

    def measured_step(batch: Batch) -> tf.Tensor:
        return sums(one_step(state, batch), state.metrics)

    if config.in_parts:
        measured_step = in_micro_batches(measured_step, state, config.micro_batch_size)

    def train_steps(batches: Iterator[Batch], count: tf.Tensor) -> tf.Tensor:
        totals = state.totals.value()
        for _ in tf.range(count):
            totals += measured_step(next(batches))
            state.step.assign_add(1)
        state.totals.assign(totals)
        return state.is_finite()

    # Only the `for` above needs AutoGraph: to read all that it calls as well takes longer than to trace it.
    compiled = tf.function(tf.autograph.to_graph(train_steps, recursive=False), autograph=False)
    return InOneThread(compiled) if config.device == "cpu" and not xla and suits_one_thread(state) else compiled


def sums(values: Values, metrics: Sequence[str]) -> tf.Tensor:
    """Each metric's sum over the batch and, last, the number of examples: float64 [metrics + 1]."""
    columns = [tf.cast(values[name], tf.float64) for name in metrics]  # each [batch]
    return tf.reduce_sum(tf.stack([*columns, tf.ones_like(columns[0])]), axis=1)


def means(state: TrainState) -> Metrics:
    """The running epoch's metrics: means over its examples so far."""
    *totals, examples = state.totals.numpy().tolist()
    return {name: total / examples if examples else math.nan for name, total in zip(state.metrics, totals, strict=True)}


def validate(evaluator: Evaluator, data: Data, epoch: int, state: TrainState) -> Generator[Event, None, Metrics | None]:
    """A pass over the validation split; returns its metrics, None where nothing is held out."""
    examples = data.examples("validation")
    if not examples:
        return None
    parts: list[Values] = []
    for chunk in evaluator.chunks("validation"):
        parts += chunk
        done = Evaluation.of("validation", parts)
        yield Progress(epoch, int(state.step), done.examples, done.metrics, 0.0, "validation", examples)
    return Evaluation.of("validation", parts).metrics


def close_epoch(state: TrainState, judge: Judge, epoch: int, validation: Metrics | None) -> bool:
    """Counts the epoch as done and clears its sums; returns whether its validation is the best so far."""
    best = judge.is_best(state, validation)
    judge.count(state, validation)
    state.totals.assign(tf.zeros_like(state.totals))
    state.epoch.assign(epoch)
    return best


class Pace:
    """How many steps the next call takes: as many as fit in `SECONDS_PER_CALL`, by the last call's time.

    Only when the loop looks up depends on it, not what is computed.

    Args:
        steps_per_call: a fixed number, or "auto".
        stop_every: a step whose number is a multiple of it ends a call; None for no such steps.
    """

    def __init__(self, steps_per_call: int | str, stop_every: int | None) -> None:
        self._fixed = steps_per_call != "auto"
        self._steps = int(steps_per_call) if self._fixed else 1
        self._stop_every = stop_every
        self.seconds = 0.0

    @contextmanager
    def call(self, step: int, left: int) -> Iterator[int]:
        """Times one call and gives its number of steps.

        Args:
            step: steps done.
            left: steps left in the epoch.
        """
        count = min(self._steps, left, self._stop_every - step % self._stop_every if self._stop_every else left)
        started = time.perf_counter()
        yield count
        self.seconds = max(time.perf_counter() - started, 1e-9)
        if not self._fixed:
            # The first call traces and says nothing about the next: the pace may grow fast, but not by a wild guess.
            self._steps = min(max(1, round(count * SECONDS_PER_CALL / self.seconds)), count * 8)
