"""Rolls back training steps that leave NaN or infinity in the training state.

An overflow of float16 gradients is not one of them: `optimizers/run_optimizer.py` handles it.
"""

import time

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data import BatchIterator, Data
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.training.executor import InnerLoop
from tfloop_cli.errors import ExitCode, TfloopError

# Time between snapshots, as a multiple of the duration of one: they take at most 1/400 of the time.
SNAPSHOT_INTERVAL = 400
MAX_SNAPSHOT_INTERVAL = 20.0  # seconds; limits how much has to be repeated after a non-finite value


class NonFiniteGuard:
    """Runs training steps; raises at, or skips, those that leave a non-finite value in the training state.

    Checked are the loss, for some optimizers the gradient, weights, moving statistics and optimizer state.

    A non-finite value stays non-finite in every sum and average, so one check per call of the inner loop is enough. It
    is cheaper than checking every gradient. If the check fails, the state is restored from a snapshot, and the same
    steps are repeated by bisection until the faulty one is isolated; batches are a function of the step. The result
    is the same as if that step had not existed: random layers and batch norm's moving statistics included.

    Args:
        inner_loop: runs training steps.
        state: the training state.
        data: the source of the batches.
        batches: an iterator at the batch of the state's step.
        stop: whether the first faulty step is an error; otherwise it is skipped and counted.
    """

    def __init__(
        self, inner_loop: InnerLoop, state: TrainState, data: Data, batches: BatchIterator, *, stop: bool
    ) -> None:
        self._inner_loop, self._state, self._data, self._batches = inner_loop, state, data, batches
        self._stop = stop
        self._variables = state.variables()
        self._saved = {name: np.empty_like(_view(variable)) for name, variable in self._variables.items()}
        self._saved_step, self._saved_at, self._snapshot_seconds = -1, 0.0, 0.0

    @property
    def traces(self) -> int:
        """How often the inner loop was traced."""
        return self._inner_loop.experimental_get_tracing_count()

    def start_epoch(self, epoch: int) -> None:
        """Prepares an epoch, counted from 0; called before its first step, or before the step to resume at."""
        self._batches.set_epoch(epoch)
        self._snapshot()

    def run_steps(self, count: int) -> None:
        """Runs `count` steps, except those that are skipped.

        Raises:
            TfloopError: with `stop`, a value is not finite (exit code 5). The state is that before the faulty step.
        """
        if time.perf_counter() - self._saved_at > min(
            self._snapshot_seconds * SNAPSHOT_INTERVAL, MAX_SNAPSHOT_INTERVAL
        ):
            self._snapshot()
        steps_since_snapshot = int(self._state.step) - self._saved_step
        if not self._run(count):
            self._roll_back()
            self._run(steps_since_snapshot)  # these passed the check before
            self._bisect(count)

    def _bisect(self, count: int) -> None:
        self._snapshot()
        if self._run(count):
            return
        cause = self._non_finite_part()
        self._roll_back()
        if count > 1:
            self._bisect(count // 2)
            self._bisect(count - count // 2)
        elif self._stop:
            raise self._diverged(cause)
        else:
            self._skip_step()

    def _run(self, count: int) -> bool:
        return bool(self._inner_loop(self._batches.batches, tf.constant(count, tf.int64)))

    def _snapshot(self) -> None:
        started = time.perf_counter()
        for name, variable in self._variables.items():
            np.copyto(self._saved[name], _view(variable))
        self._saved_step, self._saved_at = int(self._state.step), time.perf_counter()
        self._snapshot_seconds = self._saved_at - started

    def _roll_back(self) -> None:
        for name, variable in self._variables.items():
            variable.assign(self._saved[name])
        self._state.loss_sum.assign(0.0)
        self._batches.seek(self._saved_step)

    def _skip_step(self) -> None:
        step = self._saved_step
        skipped, first = self._state.skipped_steps.numpy().tolist()
        self._state.skipped_steps.assign([skipped + 1, first if skipped else step])
        self._state.step.assign(step + 1)
        self._batches.seek(step + 1)
        self._snapshot()

    def _non_finite_part(self) -> str:
        if not np.isfinite(self._state.loss_sum.numpy()):
            return "the loss or its gradient is"
        weights = self._state.trainable_variables()
        if not all(np.isfinite(weight.numpy()).all() for weight in weights):
            return "the weights are"
        return "the moving statistics or the optimizer state are"

    def _diverged(self, cause: str) -> TfloopError:
        step = self._saved_step
        examples = ", ".join(str(index) for index in self._data.examples_of(step)[:8])
        return TfloopError(
            f"training diverged: {cause} not finite at step {step + 1}; "
            f"its batch has the training examples {examples}, ...",
            hint="checkpoints that were saved before are good; lower `optimizer.learning_rate`, set `clip_norm: 1.0`, "
            "or use `on_nonfinite: skip` to skip such batches",
            code=ExitCode.DIVERGED,
        )


def _view(variable: tf.Variable) -> np.ndarray:
    """Returns the variable's values without copying them; valid until the variable changes."""
    return np.asarray(variable.value())
