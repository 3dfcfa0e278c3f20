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
        self._skipped_before = 0  # skipped steps before this epoch
        self._variables = state.variables()
        self._snapshot_at, self._snapshot_seconds = 0.0, 0.0
        state.latest_snapshot = None  # the state may have been changed since then

    @property
    def traces(self) -> int:
        """How often the inner loop was traced."""
        return self._inner_loop.experimental_get_tracing_count()

    def start_epoch(self, epoch: int) -> None:
        """Prepares an epoch, counted from 0; called before its first step, or before the step to resume at."""
        self._batches.set_epoch(epoch)
        self._skipped_before = int(self._state.skipped_steps[0])
        latest = self._state.latest_snapshot
        now = int(self._state.step), int(self._state.epoch)
        if latest is None or (latest.facts["step"], latest.facts["epoch"]) != now:  # else it was just saved
            self._snapshot()

    def run_steps(self, count: int) -> None:
        """Runs `count` steps, except those that are skipped.

        Raises:
            TfloopError: with `stop`, a value is not finite (exit code 5). The state is that before the faulty step.
        """
        interval = min(self._snapshot_seconds * SNAPSHOT_INTERVAL, MAX_SNAPSHOT_INTERVAL)
        latest = self._state.latest_snapshot
        if latest is None or (not latest.in_use and time.perf_counter() - self._snapshot_at > interval):
            self._snapshot()
        step = int(self._state.step)
        if not self._run(count):
            self._run(step - self._roll_back())  # these passed the check before
            self._bisect(count)

    def _bisect(self, count: int) -> None:
        self._snapshot()
        self._reset_sums()
        if self._run(count):
            return
        cause = self._cause()
        self._roll_back()
        if count > 1:
            self._bisect(count // 2)
            self._bisect(count - count // 2)
        elif self._stop:
            raise self._diverged(cause)
        else:
            self._skip_step()

    def _run(self, count: int) -> bool:
        """Runs `count` steps; returns whether everything is finite."""
        finite = bool(self._inner_loop(self._batches.batches, tf.constant(count, tf.int32)))
        # The check in the graph sums finite values, and a sum may overflow.
        return finite or (np.isfinite(self._sums()).all() and not self._state.non_finite())

    def _sums(self) -> tuple[float, float]:
        """Returns the sums of losses and of gradient norms since the last reset."""
        return float(self._state.loss_sum), float(self._state.norm_sum)

    def _reset_sums(self) -> None:
        self._state.loss_sum.assign(0.0)
        self._state.norm_sum.assign(0.0)

    def _snapshot(self) -> None:
        started = time.perf_counter()
        self._state.snapshot()
        self._snapshot_at = time.perf_counter()
        self._snapshot_seconds = self._snapshot_at - started

    def _roll_back(self) -> int:
        """Restores the state from its latest snapshot, the guard's own or one that was saved; returns its step."""
        snapshot = self._state.latest_snapshot
        assert snapshot is not None
        for name, variable in self._variables.items():
            variable.assign(snapshot.arrays[name])
        self._reset_sums()
        step = int(self._state.step)
        self._batches.seek(step)
        return step

    def _skip_step(self) -> None:
        step = int(self._state.step)  # that of the snapshot
        skipped, first = self._state.skipped_steps.numpy().tolist()
        self._state.skipped_steps.assign([skipped + 1, first if skipped else step])
        self._state.step.assign(step + 1)
        if skipped + 1 - self._skipped_before > self._data.steps_per_epoch / 2:
            raise TfloopError(
                f"training diverged: more than half of the steps of epoch {int(self._state.epoch) + 1} were skipped, "
                "because the loss or the training state was not finite",
                hint="lower `optimizer.learning_rate`, set `clip_norm: 1.0`, or check the data",
                code=ExitCode.DIVERGED,
            )
        self._batches.seek(step + 1)
        self._snapshot()

    def _cause(self) -> tuple[str, str]:
        """Returns what is not finite after one step, and the step's loss and, if it is known, gradient norm."""
        loss, norm = self._sums()
        has_norm = any(optimizer.has_norm for optimizer in self._state.optimizers.values())
        seen = f"loss {loss:.4g}" + (f", gradient norm {norm:.4g}" if has_norm else "")
        if not np.isfinite(loss):
            return "the loss is", seen
        if not np.isfinite(norm):
            return "the norm of the gradient is" if has_norm else "the gradient is", seen
        first, *others = self._state.non_finite()
        more = f" and {len(others)} more variables are" if others else " is"
        return self._state.describe(first) + more, seen

    def _diverged(self, cause: tuple[str, str]) -> TfloopError:
        step = int(self._state.step)  # that of the snapshot
        problem = f"training diverged: {cause[0]} not finite at step {step + 1} ({cause[1]}); "
        skip = "use `on_nonfinite: skip` to skip such batches"
        if len(wrong := _non_finite_examples(self._data, step)):
            problem += f"the data has NaN or infinity in the training example{'s' * (len(wrong) > 1)} {_first(wrong)}"
            hint = f"replace these values or remove the examples, or {skip}"
        else:
            problem += f"its batch has the training examples {_first(self._data.examples_of(step))}"
            hint = f"lower `optimizer.learning_rate`, set `clip_norm: 1.0`, or {skip}"
        return TfloopError(problem, hint=hint, code=ExitCode.DIVERGED)


def _non_finite_examples(data: Data, step: int) -> np.ndarray:
    """Returns the examples of a training batch with NaN or infinity in inputs or targets; see `Data.examples_of`."""
    _, examples = data.split("train")
    positions = np.flatnonzero(np.isin(examples, data.examples_of(step)))
    arrays = [array for array in tf.nest.flatten(data.raw_examples("train", positions)) if array.dtype.kind == "f"]
    wrong = [~np.isfinite(array.reshape(len(array), -1)).all(axis=1) for array in arrays]
    return examples[positions[np.any(wrong, axis=0)]] if wrong else examples[:0]


def _first(indices: np.ndarray) -> str:
    """Returns the first of several numbers for a message."""
    return ", ".join(map(str, indices[:8].tolist())) + (", ..." if len(indices) > 8 else "")
