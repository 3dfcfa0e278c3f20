"""Reads what trackers are told from the files of a run folder, also while the run is training."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from tfloop_cli.events import FINISHED as TRAINED_TO_THE_END
from tfloop_cli.files import json_text, parse_json, read_file, read_json
from tfloop_cli.runs.comparison import flat
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.recorder import MAX_HISTORY_BYTES
from tfloop_cli.runs.records import RunRecord, mapping
from tfloop_cli.tracking.tracker import FAILED, FINISHED, SPEED, STOPPED, TrackedRun


@dataclass(frozen=True)
class Point:
    """The metrics of one line of metrics.jsonl; see `Tracker.log`."""

    step: int
    metrics: Mapping[str, float]
    time: float


def tracked_run(run: RunFolder) -> TrackedRun:
    """Returns what config.yaml and meta.json say about a run.

    Raises:
        ValueError: config.yaml cannot be read.
    """
    metadata = read_json(run.metadata)
    if not (config := dict(RunRecord(run).config)):
        raise ValueError(f"{run.config} cannot be read")
    config.pop("tracking", None)  # about the tracker itself: its address is nobody else's business
    return TrackedRun(
        str(metadata.get("run_id") or run.path.resolve().name),
        run.path.resolve().name,
        run.path.resolve(),
        {key: one if isinstance(one, str) else json_text(one) for key, one in flat(config).items()},
        {name: str(one) for name, one in mapping(metadata.get("versions")).items() if one},
        _seconds(run.started()),
    )


def status_of(run: RunFolder) -> str:
    """Returns the status of a run that has ended, by its summary.json; of one that was killed, which has none, too."""
    reason = read_json(run.summary).get("reason")
    if reason in TRAINED_TO_THE_END:
        return FINISHED
    return FAILED if reason in ("failed", "diverged") else STOPPED


class History:
    """Reads metrics.jsonl line by line, as it is written.

    A line does not have its time: points are dated by the start of the run and the seconds of its epochs.

    Args:
        run: the run folder.
        started: when the run started, in seconds since 1970.
    """

    def __init__(self, run: RunFolder, started: float) -> None:
        self._run = run
        self._time = started
        self._offset = 0
        self._step = 0

    def read(self) -> Iterator[Point]:
        """Yields a point for each complete line since the last call; a line that cannot be read is skipped."""
        try:
            data = read_file(self._run.metrics, MAX_HISTORY_BYTES, start=self._offset)
        except FileNotFoundError:
            return
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                return
            self._offset += len(line)
            if point := self._point(line):
                yield point

    def _point(self, line: bytes) -> Point | None:
        try:
            values = parse_json(line)
            if values["event"] == "epoch":
                self._step = int(values["step"])
                self._time += float(values["train_seconds"]) + float(values["validation_seconds"])
                metrics = {"epoch": float(values["epoch"]), **_metrics("train", values["train"])}
                metrics |= _metrics("validation", values["validation"] or {})
                for name in (SPEED, "learning_rate"):
                    if isinstance(values.get(name), int | float):
                        metrics[name] = float(values[name])
            elif values["event"] == "evaluation":
                metrics = _metrics(values["split"], values["metrics"])
            else:
                return None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return Point(self._step, metrics, self._time)


def _metrics(split: str, values: Mapping[str, float | None]) -> dict[str, float]:
    """Names metrics by their split; null is a value that is not finite."""
    return {f"{split}/{name}": math.nan if value is None else float(value) for name, value in values.items()}


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
