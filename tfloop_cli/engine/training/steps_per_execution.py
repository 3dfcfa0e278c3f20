"""How many training steps one call of the inner loop runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS_PER_EXECUTION = 0.2  # the screen is updated, and Ctrl-C is handled, five times per second


class StepsPerExecution:
    """Tunes the number of steps per call of the inner loop to `SECONDS_PER_EXECUTION`, by the time of the last call.

    It affects only how often the loop returns to Python, not what is computed.

    Args:
        steps_per_execution: a fixed number, or "auto".
        stop_every: a call ends at every step that is a multiple of it; None for no such steps.
    """

    def __init__(self, steps_per_execution: int | str, stop_every: int | None) -> None:
        self._fixed = steps_per_execution != "auto"
        self._steps = int(steps_per_execution) if self._fixed else 1
        self._stop_every = stop_every
        self.seconds = 0.0

    @contextmanager
    def next(self, step: int, left: int) -> Iterator[int]:
        """A context that times one call; its value is the number of steps of the call.

        Args:
            step: completed steps.
            left: steps left in the epoch.
        """
        count = min(self._steps, left, self._stop_every - step % self._stop_every if self._stop_every else left)
        started = time.perf_counter()
        yield count
        self.seconds = max(time.perf_counter() - started, 1e-9)
        if not self._fixed:
            # The time of the first call includes tracing. The factor of 8 limits the effect of a wrong estimate.
            self._steps = min(max(1, round(count * SECONDS_PER_EXECUTION / self.seconds)), count * 8)
