"""Records events in metrics.jsonl, history.csv and summary.json."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from tfloop_cli.errors import ExitCode
from tfloop_cli.events import EpochDone, Evaluated, Event, RunEnded, RunStarted
from tfloop_cli.files import SCHEMA, disk_errors, json_text, read_file, write_atomic, write_json
from tfloop_cli.runs.documents import Document, document, read_epoch
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.history import HistoryTable

MAX_HISTORY_BYTES = 2**30  # of metrics.jsonl


class Recorder:
    """Writes the history of a run while it trains.

    A disk error while recording is reported once and does not end the training; `restore_history` raises.

    Args:
        run: the run folder.
        warn: prints a warning.
    """

    def __init__(self, run: RunFolder, warn: Callable[[str], None]) -> None:
        self._skipped_batches = 0
        self._skipped_examples: Mapping[str, int] = {}
        self._notes: tuple[str, ...] = ()
        self._run = run
        self._warn = warn
        self._warned = False
        # Start time and name. A run that is resumed starts when its checkpoint is accepted: until then it is unchanged.
        self._started = None if run.is_run() else (time.monotonic(), str(run))
        self._unwritten = b""
        self._valid_bytes = run.metrics.stat().st_size if run.metrics.exists() else 0
        self._table = HistoryTable()
        self._final: Document | None = None
        self._best: Document | None = None
        self._evaluations: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Writes the summary of a run that fails."""
        if error is not None and self._started:
            reason = "diverged" if getattr(error, "code", None) == ExitCode.DIVERGED else "failed"
            seconds = time.monotonic() - self._started[0]
            end = RunEnded(reason, self._started[1], "", "", seconds)
            if self._run.is_run():
                self.handle(end)
            else:  # the start failed before config.yaml: the folder can still become that of a new run
                self._write_summary(document(end) or {})

    def restore_history(self, epochs: int, best_step: int) -> list[EpochDone]:
        """Reads the history of a resumed run, and removes what will be recorded again.

        Args:
            epochs: the epochs that the checkpoint has completed. Later lines are removed, and so are summary.json and
                the files in evaluation/, since the run has not ended.
            best_step: the step of the best epoch; negative if the best one is chosen anew, or not at all.

        Returns:
            The events of those epochs, as far as the file is intact.

        Raises:
            TfloopError: a disk error (exit code 2 or 75).
        """
        kept = []
        history: list[EpochDone] = []
        for line in self._lines():
            event = read_epoch(line)
            if event is None or event.epoch != len(history) + 1 or event.epoch > epochs:
                break
            kept.append(line)
            event = replace(event, best=event.best and event.step <= best_step)
            history.append(event)
            self._update_summary(event)
        if len(history) < epochs:
            self._warn(f"{self._run.metrics} is damaged: the epochs after {len(history)} are missing")
        with disk_errors(self._run.metrics):
            self._run.summary.unlink(missing_ok=True)
            for file in self._run.evaluation.glob("*"):  # of earlier weights
                file.unlink(missing_ok=True)
            write_atomic(self._run.metrics, b"".join(kept))
            self._table = HistoryTable(history)
            write_atomic(self._run.history, self._table.csv())
        self._valid_bytes = sum(map(len, kept))
        return history

    def _lines(self) -> Iterator[bytes]:
        """Yields the lines of metrics.jsonl that can be read."""
        try:
            yield from read_file(self._run.metrics, MAX_HISTORY_BYTES).splitlines(keepends=True)
        except (OSError, ValueError):
            return

    def handle(self, event: Event) -> None:
        """Records `event` if it has a document."""
        recorded = document(event)
        if isinstance(event, RunStarted):  # config.yaml and meta.json have the rest
            self._started = (time.monotonic(), event.run)
            self._skipped_examples, self._notes = event.skipped_examples, event.notes
            return
        if recorded is None:
            return
        match event:
            case EpochDone():
                self._update_summary(event)
            case Evaluated():
                self._evaluations[event.split] = {"examples": event.examples, **event.metrics}
        self._append(recorded, durably=isinstance(event, EpochDone | RunEnded))
        if isinstance(event, EpochDone):
            self._table.add(event)
            self._write_history()
        if isinstance(event, RunEnded):
            self._started = None
            self._write_summary(recorded)

    def _update_summary(self, event: EpochDone) -> None:
        recorded = document(event) or {}
        self._skipped_batches = event.skipped_batches
        self._final = {key: recorded[key] for key in ("epoch", "step", "train", "validation")}
        self._best = self._final if event.best else self._best

    def _append(self, recorded: Document, durably: bool) -> None:
        self._unwritten += json_text(recorded).encode() + b"\n"
        try:
            # Opened for each line: the folder may be writable again after an error.
            with open(self._run.metrics, "ab") as file:
                file.truncate(min(self._valid_bytes, file.tell()))  # removes half a line that a full disk left
                file.write(self._unwritten)
                file.flush()
                if durably:  # a durable checkpoint must not contain an epoch that the history lacks
                    os.fsync(file.fileno())
                self._valid_bytes = file.tell()
            self._unwritten = b""
        except OSError as error:
            self._report(error)

    def _write_history(self) -> None:
        try:
            # Not durable: a resumed run writes it again from metrics.jsonl, which is.
            write_atomic(self._run.history, self._table.csv(), durable=False)
        except OSError as error:
            self._report(error)

    def _write_summary(self, end: Document) -> None:
        summary = {
            "schema": SCHEMA,
            **{key: value for key, value in end.items() if key != "event"},
            "final": self._final,
            "best": self._best,
            "evaluations": self._evaluations,
        }
        rare = {
            "skipped_batches": self._skipped_batches,
            "skipped_examples": dict(self._skipped_examples),
            "notes": self._notes,
        }
        summary |= {key: value for key, value in rare.items() if value}
        try:
            write_json(self._run.summary, summary)
        except OSError as error:
            self._report(error)

    def _report(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            self._warn(f"the run's history cannot be written: {error}; training continues")
