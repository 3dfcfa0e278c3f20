"""Profiles some steps of a run: a trace for TensorBoard, and the operations that take the most time."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from tfloop_cli.events import EpochDone, Event, Progress, Stopped

COSTLIEST = 10  # operations that are shown
_OPERATION = re.compile(r"[^:]+:([A-Z_]\w*)")  # NAME:KIND; other events are calls of the runtime


class Profiler:
    """A consumer of events that profiles the steps after the first call of the inner loop, which compiles it.

    The profile covers whole calls of the inner loop, within one epoch: so it may have more steps than asked for, or
    fewer, if the epoch ends.

    Args:
        folder: for the trace.
        steps: the number of steps to profile; 0 for no profile.
        show: prints a line.
    """

    def __init__(self, folder: Path, steps: int, show: Callable[[str], None]) -> None:
        self._folder, self._steps, self._show = folder, steps, show
        self._first: int | None = None  # the step at which the profile began

    def handle(self, event: Event) -> None:
        """Starts the profile after a call of the inner loop, and ends it when enough steps are done."""
        if not self._steps:
            return
        match event:
            case Progress(phase="train") if self._first is None:
                if event.epoch_step < event.phase_steps:
                    self._first = event.step
                    tf.profiler.experimental.start(str(self._folder))
            case Progress() | EpochDone() | Stopped() if self._first is not None:
                in_epoch = isinstance(event, Progress) and event.phase == "train"
                if not in_epoch or event.step - self._first >= self._steps:
                    self._end(event.step - self._first)
            case Stopped():
                self._show("nothing was profiled: an epoch is a single call of the inner loop (`steps_per_execution`)")

    def _end(self, steps: int) -> None:
        self._steps = 0
        tf.profiler.experimental.stop()
        files = sorted(self._folder.rglob("*.xplane.pb"))
        for line in _lines(milliseconds_by_kind(files[-1]) if files else Counter(), steps):
            self._show(line)
        self._show(f"profile of {steps} steps: {self._folder} (`tensorboard --logdir {self._folder}`)")


def _lines(spent: Counter[str], steps: int) -> list[str]:
    total = sum(spent.values())
    rows = [f"{'operation':<40}{'ms per step':>12}{'fraction':>10}"] if spent else []
    for kind, milliseconds in spent.most_common(COSTLIEST):
        rows.append(f"{kind:<40}{milliseconds / steps:>12.3f}{milliseconds / total:>10.1%}")
    return rows


def milliseconds_by_kind(file: Path) -> Counter[str]:
    """Returns the milliseconds of each kind of operation, over all threads, from a trace (.xplane.pb)."""
    space = xplane_pb2.XSpace()
    space.ParseFromString(file.read_bytes())
    spent: Counter[str] = Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                if found := _OPERATION.fullmatch(plane.event_metadata[event.metadata_id].name):
                    spent[found[1]] += event.duration_ps / 1e9
    return spent
