"""No bad number outlives a call of the inner loop: what spoiled the state is taken back."""

import time

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data import Data, Feed
from tfloop_cli.engine.executor import InnerLoop
from tfloop_cli.engine.state import TrainState
from tfloop_cli.errors import ExitCode, TfloopError

COPY_EVERY = 400  # times as long as a copy of the state takes
LONGEST = 20.0  # seconds after which a copy is due anyway: as much as one bad number can make the loop do again


class Guard:
    """Takes steps, and leaves out those after which a loss, a weight, an average or a moment is not finite.

    NaN and infinity stay what they are in whatever is summed or averaged, so one look at a call's end is enough, and
    costs less than one at every gradient. Where it finds something, the state goes back to a copy and the same steps,
    which have addresses, are taken again by halves, until the one that did it is alone. All of it is then as if that
    step had not been: random layers and batch norm's averages, which the forward pass has spoiled already, too.

    Args:
        steps: the inner loop.
        state: what it trains.
        data: where the batches come from.
        feed: the batches, the next one being that of the state's step.
        stop: whether the first bad step is an error, or is left out and counted.
    """

    def __init__(self, steps: InnerLoop, state: TrainState, data: Data, feed: Feed, *, stop: bool) -> None:
        self._steps, self._state, self._data, self._feed, self._stop = steps, state, data, feed, stop
        self._variables = state.variables()
        self._copy = {name: np.empty_like(_look(variable)) for name, variable in self._variables.items()}
        self._copied_step, self._copied_at, self._seconds = -1, 0.0, 0.0

    @property
    def traces(self) -> int:
        """How often the inner loop was traced."""
        return self._steps.experimental_get_tracing_count()

    def turn_to(self, epoch: int) -> None:
        """Before the first step of an epoch, counted from 0, and wherever in it training goes on."""
        self._feed.turn_to(epoch)
        self._keep()

    def take(self, count: int) -> None:
        """`count` steps, less those that are left out.

        Raises:
            TfloopError: a number was not finite (exit code 5). The state is that before the step.
        """
        if time.perf_counter() - self._copied_at > min(self._seconds * COPY_EVERY, LONGEST):
            self._keep()
        already = int(self._state.step) - self._copied_step
        if not self._run(count):
            self._go_back()
            self._run(already)  # found good before
            self._search(count)

    def _search(self, count: int) -> None:
        self._keep()
        if self._run(count):
            return
        spoiled = self._spoiled()
        self._go_back()
        if count > 1:
            self._search(count // 2)
            self._search(count - count // 2)
        elif self._stop:
            raise self._diverged(spoiled)
        else:
            self._leave_out()

    def _run(self, count: int) -> bool:
        return bool(self._steps(self._feed.batches, tf.constant(count, tf.int64)))

    def _keep(self) -> None:
        started = time.perf_counter()
        for name, variable in self._variables.items():
            np.copyto(self._copy[name], _look(variable))
        self._copied_step, self._copied_at = int(self._state.step), time.perf_counter()
        self._seconds = self._copied_at - started

    def _go_back(self) -> None:
        for name, variable in self._variables.items():
            variable.assign(self._copy[name])
        self._state.watch.assign(0.0)
        self._feed.go_to(self._copied_step)

    def _leave_out(self) -> None:
        step = self._copied_step
        left_out, first = self._state.bad.numpy().tolist()
        self._state.bad.assign([left_out + 1, first if left_out else step])
        self._state.step.assign(step + 1)
        self._feed.go_to(step + 1)
        self._keep()

    def _spoiled(self) -> str:
        if not np.isfinite(self._state.watch.numpy()):
            return "the loss is"
        weights = self._state.trainable_variables()
        if not all(np.isfinite(weight.numpy()).all() for weight in weights):
            return "the weights are"
        return "an average or the optimizer's state is"

    def _diverged(self, spoiled: str) -> TfloopError:
        step = self._copied_step
        examples = ", ".join(str(index) for index in self._data.examples_of(step)[:8])
        return TfloopError(
            f"training diverged: {spoiled} not finite at step {step + 1}; "
            f"its batch holds the training examples {examples}, ...",
            hint="the last checkpoint is good; lower `optimizer.learning_rate`, set `clip_norm: 1.0`, "
            "or `on_nonfinite: skip` to leave such batches out",
            code=ExitCode.DIVERGED,
        )


def _look(variable: tf.Variable) -> np.ndarray:
    """The variable's numbers where they are, not a copy: good until it changes."""
    return np.asarray(variable.value())
