"""The output of `tfloop predict`: the first predictions as a table, or JSON documents."""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from tfloop_cli.runs.documents import Document, prediction_document
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.display import MAX_WIDTH
from tfloop_cli.terminal.tables import aligned, amount, cut, number

MAX_ROWS = 20  # that are shown
MAX_CELL = 60  # characters


class PredictionTable:
    """Prints predictions to stdout: with `json` all of them as documents, else the first ones as a table at the end.

    Attributes:
        shown: the rows of the table.
        total: how many rows there are.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.shown: list[Mapping[str, Any]] = []
        self.total = 0

    @property
    def needed(self) -> int | None:
        """How many more rows are needed: those of the table, or None for all."""
        return None if self._console.json else MAX_ROWS - len(self.shown)

    def add(self, rows: Sequence[Mapping[str, Any]], total: int) -> None:
        """Adds the rows that are needed, of `total` ones."""
        self.total += total
        if self._console.json:
            for row in rows:
                self._console.document(prediction_document(row))
        else:
            self.shown += rows

    def finish(self, summary: Document) -> None:
        """Prints the table, or the last document."""
        if self._console.json:
            self._console.document(summary)
        elif summary["output"]:
            self._console.result(summary["output"])
        elif self.shown:
            self._print()

    def _print(self) -> None:
        names = list(dict.fromkeys(name for row in self.shown for name in row))
        cells = [[_cell(name, row.get(name)) for name in names] for row in self.shown]
        numeric = [all(isinstance(row.get(name), int | float | None) for row in self.shown) for name in names]
        left = next((place for place, one in enumerate(numeric) if one and place), len(names))
        lines = aligned([names, *cells], left=left, last_left=not numeric[-1])
        width = shutil.get_terminal_size((MAX_WIDTH, 0)).columns
        first, *others = [cut(line, width) for line in lines]
        self._console.result(self._console.heading(first))
        for line in others:
            self._console.result(line)
        if self.total > len(self.shown):
            more = f"... and {self.total - len(self.shown):,} more: `--output FILE` writes all"
            self._console.result(more)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return number(value) if name.startswith("probability") else amount(value)
    return cut(str(value).replace("\n", " "), MAX_CELL)
