"""Draws a task's samples after each epoch: a PNG in the run folder that shows what a generator has learned."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Task
from tfloop_cli.events import EpochDone, Event
from tfloop_cli.rundir import RunDir, write_atomic

GAP = 2  # pixels between two images


class Samples:
    """Consumes events; does nothing for a task that has no samples.

    Args:
        run: the folder to write into.
        state: drawn from at rest.
        task: what draws.
        warn: shows a line; a failing disk is told of once.
    """

    def __init__(
        self, run: RunDir, state: TrainState, task: Task, warn: Callable[[str], None] = lambda text: None
    ) -> None:
        self._run, self._state, self._task, self._warn = run, state, task, warn
        self._warned = False

    def handle(self, event: Event) -> None:
        if not isinstance(event, EpochDone):
            return
        with self._state.averaged():
            images = self._task.samples(self._state)
        if images is not None:
            png = tf.io.encode_png(grid(images)).numpy()
            try:
                self._run.samples.mkdir(exist_ok=True)
                write_atomic(self._run.samples / f"epoch-{event.epoch:04d}.png", png)
            except OSError as error:  # a picture is no reason to end a training
                if not self._warned:
                    self._warn(f"the samples are not being written to {self._run.samples}: {error.strerror or error}")
                self._warned = True


def grid(images: np.ndarray) -> np.ndarray:
    """Lays images out in a square, row by row.

    Args:
        images: float [n, height, width, channels] in [0, 1].

    Returns:
        uint8 [rows * (height + GAP) + GAP, ...]: one image of all of them, black between them.
    """
    count, height, width, channels = images.shape
    side = int(np.ceil(np.sqrt(count)))
    pixels = np.zeros((side * side, height + GAP, width + GAP, channels), np.uint8)
    pixels[:count, GAP:, GAP:] = np.round(np.clip(images, 0, 1) * 255)
    rows = pixels.reshape(side, side, height + GAP, width + GAP, channels).swapaxes(1, 2)
    flat = rows.reshape(side * (height + GAP), side * (width + GAP), channels)
    return np.pad(flat, ((0, GAP), (0, GAP), (0, 0)))
