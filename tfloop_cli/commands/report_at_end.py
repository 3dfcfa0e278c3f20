"""`tfloop train --report`: writes the report of a run when it has ended."""

from pathlib import Path

from tfloop_cli.commands import report
from tfloop_cli.commands.column_importance import column_importance
from tfloop_cli.events import FINISHED, Event, RunEnded
from tfloop_cli.report.blocks import Omitted
from tfloop_cli.report.importance import PART
from tfloop_cli.terminal.console import Console


class ReportAtEnd:
    """Consumes events. A report that cannot be written is a warning: the run itself is complete.

    Args:
        console: prints where the report is.
        has_code: whether the run has code of the user, which is not loaded twice.
    """

    def __init__(self, console: Console, has_code: bool) -> None:
        self._console, self._has_code = console, has_code

    def handle(self, event: Event) -> None:
        if not isinstance(event, RunEnded):
            return
        try:
            self._write(event.run, event.reason)
        except Exception as error:
            self._console.warn(f"the report cannot be written: {error}; `tfloop report {event.run}` writes it")

    def _write(self, folder: str, reason: str) -> None:
        options = report.Options()
        runs = report.read_runs([folder], Path(folder).parent, options)
        importance: report.Columns | None = report.unknown_importance(runs, options)
        if importance is None and reason not in (*FINISHED, "max_time"):
            importance = Omitted(PART, f"the run was stopped by {reason}")
        if importance is None and self._has_code:
            importance = Omitted(PART, f"`tfloop report {folder} --trust-code` computes it")
        written = report.write_report(runs, options, importance or column_importance(runs[0], self._console))
        if self._console.json:
            self._console.document(written)
        self._console.info(f"report: {written['file']}")
