"""Events -> metrics.jsonl and summary.json."""

import os
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from tfloop_cli.console import Console
from tfloop_cli.documents import SCHEMA, Document, document, read_epoch
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import EpochDone, Evaluated, Event, RunEnded, RunStarted
from tfloop_cli.jsontext import json_text
from tfloop_cli.rundir import RunDir, disk_faults, read_file, write_atomic, write_json

LARGEST_HISTORY = 2**30  # bytes of metrics.jsonl


class Recorder:
    """Writes a run's history as it happens. A failing disk is told of once, and does not end the training.

    Args:
        run: the run's folder.
        console: gets the warning.
    """

    def __init__(self, run: RunDir, console: Console) -> None:
        self._skipped = 0
        self._skipped_examples: Mapping[str, int] = {}
        self._run = run
        self._console = console
        self._warned = False
        self._started: tuple[float, str] | None = None
        self._unwritten = b""
        self._good_bytes = run.metrics.stat().st_size if run.metrics.exists() else 0
        self._final: Document | None = None
        self._best: Document | None = None
        self._evaluations: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A run that fails says so in its summary."""
        if isinstance(error, TfloopError) and self._started:
            reason = "diverged" if error.code == ExitCode.DIVERGED else "failed"
            seconds = time.monotonic() - self._started[0]
            self.handle(RunEnded(reason, self._started[1], "", "", seconds))

    def go_on(self, epochs: int) -> list[EpochDone]:
        """Takes up the history of a resumed run.

        Args:
            epochs: how many epochs the checkpoint has done; what was recorded after them is cut off and happens again.
                The summary goes too: the run has not ended.

        Returns:
            The events of those epochs, as far as the file holds them.
        """
        kept = []
        history: list[EpochDone] = []
        for line in self._lines():
            event = read_epoch(line)
            if event is None or event.epoch != len(history) + 1 or event.epoch > epochs:
                break
            kept.append(line)
            history.append(event)
            self._remember(event)
        if len(history) < epochs:
            self._console.warn(f"{self._run.metrics} is damaged: it does not tell of the epochs after {len(history)}")
        with disk_faults(self._run.metrics):
            self._run.summary.unlink(missing_ok=True)
            write_atomic(self._run.metrics, b"".join(kept))
        self._good_bytes = sum(map(len, kept))
        return history

    def _lines(self) -> Iterator[bytes]:
        """The lines of metrics.jsonl, as many as can be read."""
        try:
            yield from read_file(self._run.metrics, LARGEST_HISTORY).splitlines(keepends=True)
        except (OSError, ValueError):
            return

    def handle(self, event: Event) -> None:
        """Records `event`, if it is one to keep."""
        told = document(event)
        if isinstance(event, RunStarted):  # config.yaml and meta.json tell the rest
            self._started = (time.monotonic(), event.run)
            self._skipped_examples = event.skipped_examples
            return
        if told is None:
            return
        match event:
            case EpochDone():
                self._remember(event)
            case Evaluated():
                self._evaluations[event.split] = {"examples": event.examples, **event.metrics}
        self._keep(told, durably=isinstance(event, EpochDone | RunEnded))
        if isinstance(event, RunEnded):
            self._summarize(told)

    def _remember(self, event: EpochDone) -> None:
        told = document(event) or {}
        self._skipped = event.skipped_batches
        self._final = {key: told[key] for key in ("epoch", "step", "train", "validation")}
        self._best = self._final if event.best else self._best

    def _keep(self, told: Document, durably: bool) -> None:
        self._unwritten += json_text(told).encode() + b"\n"
        try:
            # Opened for each line: the folder may have come back since the last one failed.
            with open(self._run.metrics, "ab") as file:
                file.truncate(min(self._good_bytes, file.tell()))  # half a line that a full disk left
                file.write(self._unwritten)
                file.flush()
                if durably:  # a checkpoint on the disk itself must not tell of an epoch that is not
                    os.fsync(file.fileno())
                self._good_bytes = file.tell()
            self._unwritten = b""
        except OSError as error:
            self._warn(error)

    def _summarize(self, end: Document) -> None:
        summary = {
            "schema": SCHEMA,
            **{key: value for key, value in end.items() if key != "event"},
            "final": self._final,
            "best": self._best,
            "evaluations": self._evaluations,
        }
        skipped = {"skipped_batches": self._skipped, "skipped_examples": dict(self._skipped_examples)}
        summary |= {key: value for key, value in skipped.items() if value}
        try:
            write_json(self._run.summary, summary)
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            self._console.warn(f"the run's history is not being written: {error}; training goes on")
