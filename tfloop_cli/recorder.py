"""Events -> metrics.jsonl and summary.json."""

from typing import Any

from tfloop_cli.console import Console
from tfloop_cli.documents import SCHEMA, Document, document
from tfloop_cli.events import EpochDone, Evaluated, Event, RunEnded, RunStarted
from tfloop_cli.jsontext import json_text
from tfloop_cli.rundir import RunDir, write_json


class Recorder:
    """Writes a run's history as it happens. A failing disk is told of once, and does not end the training.

    Args:
        run: the run's folder.
        console: gets the warning.
    """

    def __init__(self, run: RunDir, console: Console) -> None:
        self._run = run
        self._console = console
        self._warned = False
        self._unwritten = b""
        self._good_bytes = run.metrics.stat().st_size if run.metrics.exists() else 0
        self._final: Document | None = None
        self._best: Document | None = None
        self._evaluations: dict[str, Any] = {}

    def handle(self, event: Event) -> None:
        """Records `event`, if it is one to keep."""
        told = document(event)
        if told is None or isinstance(event, RunStarted):  # config.yaml and meta.json tell the start
            return
        match event:
            case EpochDone():
                self._final = {key: told[key] for key in ("epoch", "step", "train", "validation")}
                self._best = self._final if event.best else self._best
            case Evaluated():
                self._evaluations[event.split] = {"examples": event.examples, **event.metrics}
        self._keep(told)
        if isinstance(event, RunEnded):
            self._summarize(told)

    def _keep(self, told: Document) -> None:
        self._unwritten += json_text(told).encode() + b"\n"
        try:
            # Opened for each line: the folder may have come back since the last one failed.
            with open(self._run.metrics, "ab") as file:
                file.truncate(min(self._good_bytes, file.tell()))  # half a line that a full disk left
                file.write(self._unwritten)
                file.flush()
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
        try:
            write_json(self._run.summary, summary)
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            self._console.warn(f"the run's history is not being written: {error}; training goes on")
