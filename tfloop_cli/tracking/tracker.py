"""What a tracker is, and what it is told of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SPEED = "examples_per_second"
"""The metric that depends on the machine, and is another one if a step is trained again."""
FINISHED, FAILED, STOPPED = "finished", "failed", "stopped"
"""The status of a run: trained to its end; diverged or failed; stopped by a signal or `--max-time`, or killed."""


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers know it.

    Attributes:
        id: the run's own id, which stays the same when the run is resumed.
        name: of the run folder.
        folder: the run folder.
        params: the resolved config: dotted key -> value as text.
        versions: package -> version, of tfloop, TensorFlow and others.
        started: when the run started, in seconds since 1970 (UTC).
    """

    id: str
    name: str
    folder: Path
    params: Mapping[str, str]
    versions: Mapping[str, str]
    started: float


class Tracker(Protocol):
    """Writes a run to a tracker. Every exception is reported to the user, and does not end the training.

    A run is written again from its first point whenever a process starts to track it (a resumed run, `tfloop track`,
    the next attempt after an error): what the tracker already has must be replaced or skipped, not doubled.

    Attributes:
        packages: name of a module that must be installed -> what `pip install` calls it.

    An optional method `load()` is called before `start`, maybe long before: while the training imports TensorFlow. It
    imports what takes long.
    """

    packages: Mapping[str, str]

    def start(self, run: TrackedRun) -> str:
        """Opens the run in the tracker; returns where a user finds it: a folder or a URL."""
        ...

    def log(self, step: int, metrics: Mapping[str, float], time: float) -> None:
        """Writes one point of each metric.

        Args:
            step: completed training steps.
            metrics: `train/loss`, `validation/accuracy`, `test/accuracy`, `epoch`, ... -> value, which may be NaN.
            time: seconds since 1970.
        """
        ...

    def finish(self, status: str) -> None:
        """Writes everything out and closes the run; `status` is "finished", "failed" or "stopped"."""
        ...
