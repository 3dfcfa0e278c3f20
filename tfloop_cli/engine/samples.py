"""Saves a task's samples after each epoch as a PNG in the run folder."""

from collections.abc import Callable

from tfloop_cli.engine.image_grid import grid, png
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Task
from tfloop_cli.events import EpochDone, Event
from tfloop_cli.files import write_atomic
from tfloop_cli.runs.folder import RunFolder


class Samples:
    """Consumes events; does nothing for a task that has no samples.

    Args:
        run: the run folder.
        state: the training state.
        task: makes the samples.
        warn: prints a warning; a disk error is reported once.
    """

    def __init__(
        self, run: RunFolder, state: TrainState, task: Task, warn: Callable[[str], None] = lambda text: None
    ) -> None:
        self._run, self._state, self._task, self._warn = run, state, task, warn
        self._warned = False

    def handle(self, event: Event) -> None:
        if not isinstance(event, EpochDone):
            return
        with self._state.use_ema_weights(), self._state.keep_random_state():
            images = self._task.samples(self._state)
        if images is not None:
            content = png(grid(images))
            try:
                self._run.samples.mkdir(exist_ok=True)
                write_atomic(self._run.samples / f"epoch-{event.epoch:04d}.png", content)
            except OSError as error:  # a missing image must not end the training
                if not self._warned:
                    self._warn(f"samples cannot be written to {self._run.samples}: {error.strerror or error}")
                self._warned = True
