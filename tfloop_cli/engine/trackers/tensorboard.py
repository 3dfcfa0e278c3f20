"""TensorBoard: one event file in the run folder, written anew from the history whenever tracking starts."""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from tfloop_cli.engine.trackers.event_file import record, scalars_event, text_event, version_event
from tfloop_cli.registry import trackers
from tfloop_cli.tracking.tracker import TrackedRun


@trackers.register("tensorboard")
class TensorBoard:
    """Event files for TensorBoard, in the folder `tensorboard` of the run: `tensorboard --logdir runs` shows all runs.

    No package is needed to write them. The viewer is the package `tensorboard`.

    Args:
        path: parent folder for event files, with one folder per run in it; null: the run folder.
    """

    packages: Mapping[str, str] = {}

    def __init__(self, *, path: Path | None = None) -> None:
        self._parent = path
        self._file: BinaryIO | None = None

    def start(self, run: TrackedRun) -> str:
        """Replaces the event file of this run by one with the config as its first entry."""
        folder = self._parent / run.name if self._parent else run.folder / "tensorboard"
        if folder.is_symlink():
            raise OSError(f"{folder} is a link")
        folder.mkdir(parents=True, exist_ok=True)
        suffix = f".tfloop-{run.id}"
        earlier = [file for file in folder.iterdir() if file.name.endswith(suffix)]
        number = 1 + max([_number(file) for file in earlier], default=0)
        # TensorBoard reads the files of a folder in the order of their names, and has the old one in memory.
        name = f"events.out.tfevents.{int(time.time()):010d}.{number:06d}{suffix}"
        self._file = open(folder / name, "xb", buffering=0)  # noqa: SIM115
        lines = [f"| {key} | {value} |" for key, value in run.params.items()]
        config = "\n".join(["| key | value |", "| --- | --- |", *lines])
        self._file.write(record(version_event(run.started)) + record(text_event(run.started, "config", config)))
        for file in earlier:
            with suppress(OSError):
                file.unlink()
        return str(folder)

    def log(self, step: int, metrics: Mapping[str, float], time: float) -> None:
        """Appends one event."""
        assert self._file
        self._file.write(record(scalars_event(time, step, metrics)))

    def finish(self, status: str) -> None:
        """Closes the file."""
        if self._file:
            self._file.close()


def _number(file: Path) -> int:
    parts = file.name.split(".")
    return int(parts[4]) if len(parts) > 5 and parts[4].isdecimal() else 0
