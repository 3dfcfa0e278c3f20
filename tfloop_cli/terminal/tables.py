"""Formats numbers, tables of text, and the rows of the epoch table, which `display` prints one by one."""

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfloop_cli.events import EpochDone, RunStarted

GAP = 2  # characters between two columns
MAX_ROWS = 30  # columns of the data that are shown
MAX_NAME = 30  # characters of a column's name that are shown
_NUMBER_WIDTH = 8  # characters that a result of `number` needs


def number(value: float) -> str:
    """Returns `value` in at most 8 characters (9 below -1e5), with four decimals unless it is large or tiny."""
    size = abs(value)
    if size >= 1e6 or 0 < size < 5e-5:
        return f"{value:.2e}" if value > 0 else f"{value:.1e}"
    return f"{value:.1f}" if size >= 100 else f"{value:.4f}"


def amount(value: float) -> str:
    """Returns a number of the data, such as a predicted price, in six significant digits or more."""
    size = abs(value)
    if size >= 1e12 or 0 < size < 1e-4:
        return f"{value:.5e}"
    return f"{value:.1f}" if size >= 1e5 else f"{value:.6g}"


def duration(seconds: float) -> str:
    """Returns a duration as 2.5s, 1:23 or 1:02:03; one that is not finite as "nans" or "infs"."""
    if not (round(seconds, 1) >= 60 and math.isfinite(seconds)):
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def byte_size(count: int) -> str:
    """Returns a number of bytes as B, KiB, MiB or GiB."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 2**power:
            return f"{count / 2**power:,.1f} {unit}"
    return f"{count} B"


def metrics_text(metrics: Mapping[str, float], prefix: str = "") -> str:
    """Returns names and values on one line: `loss 0.1234  accuracy 0.9612`."""
    return "  ".join(f"{prefix}{name} {number(value)}" for name, value in metrics.items())


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        group: the heading above adjacent columns ("train"), or "".
        rank: the column with the highest rank is dropped first on a narrow screen; 0 is never dropped.
        cell: returns the cell of an epoch.
    """

    group: str
    name: str
    width: int
    rank: int
    cell: Callable[[EpochDone], str]


class EpochTable:
    """A table with one row per epoch.

    Args:
        started: has the names of the training metrics.
        first: the first epoch, which has the names of the validation metrics, if any.
        width: of the screen, in characters.
        unicode: whether to use characters beyond ASCII.
    """

    def __init__(self, started: RunStarted, first: EpochDone, width: int, *, unicode: bool) -> None:
        self._line = "─" if unicode else "-"
        star = "★" if unicode else "*"
        columns = [
            Column("", "epoch", 5, 0, lambda done: str(done.epoch)),
            *_metric_columns("train", started.metrics, lambda done: done.train),
            *_metric_columns("validation", tuple(first.validation or ()), lambda done: done.validation or {}),
            Column("", "time", 7, 4, lambda done: duration(done.train_seconds + done.validation_seconds)),
            Column("", "examples/s", 10, 5, lambda done: f"{done.examples_per_second:,.0f}"),
            Column("", "best", 4, 0, lambda done: star if done.best else ""),
        ]
        self._columns = _that_fit(columns, width)

    def header(self) -> list[str]:
        """Returns two lines: groups above names."""
        groups: list[tuple[str, int]] = []
        for column in self._columns:
            if groups and column.group and groups[-1][0] == column.group:
                groups[-1] = (column.group, groups[-1][1] + GAP + column.width)
            else:
                groups.append((column.group, column.width))
        above = [f" {group} ".center(width, self._line) if group else " " * width for group, width in groups]
        return [(" " * GAP).join(above).rstrip(), self._row([column.name for column in self._columns])]

    def row(self, done: EpochDone) -> str:
        """Returns the line of one epoch."""
        return self._row([column.cell(done) for column in self._columns])

    def _row(self, cells: Sequence[str]) -> str:
        padded = [cell.rjust(column.width) for cell, column in zip(cells, self._columns, strict=True)]
        return (" " * GAP).join(padded).rstrip()


def data_table(
    columns: Sequence[Mapping[str, Any]], width: int, rest: str = "see encoders.json in the run folder"
) -> list[str]:
    """Returns the lines of a table with one row per column of the data, at most `MAX_ROWS`.

    Args:
        columns: see `RunStarted`, or `DataSummary`.
        width: of the screen, in characters; longer lines are cut.
        rest: where the other columns are shown.
    """
    moments = [key for key in ("mean", "deviation") if any(column.get(key) is not None for column in columns)]
    rows = [["column", "type", "missing", "distinct", *moments, "use"]]
    for column in columns[:MAX_ROWS]:
        counts = ["" if column[key] is None else f"{column[key]:,}" for key in ("missing", "distinct")]
        counts += ["" if column[key] is None else number(column[key]) for key in moments]
        rows.append([cut(str(column["name"]), MAX_NAME), str(column["type"]), *counts, str(column["use"])])
    lines = [cut(line, width) for line in aligned(rows, left=2, last_left=True)]
    if len(columns) > MAX_ROWS:
        lines.append(f"... and {len(columns) - MAX_ROWS:,} more columns: {rest}")
    return lines


def aligned(rows: Sequence[Sequence[str]], left: int, *, last_left: bool = False) -> list[str]:
    """Returns lines with aligned cells: the first `left` columns are text, the others are numbers.

    Args:
        rows: of equal length; the first one is the header.
        left: columns of text at the beginning.
        last_left: whether the last column is text too.
    """
    last = len(rows[0]) - 1
    is_left = [position < left or (last_left and position == last) for position in range(last + 1)]
    return columns_text(list(zip(*rows, strict=True)), is_left)


def columns_text(columns: Sequence[Sequence[str]], left: Sequence[bool]) -> list[str]:
    """Returns the lines of a table.

    Args:
        columns: the cells of each column, from top to bottom.
        left: whether a column is aligned to the left.
    """
    padded = []
    for cells, is_left in zip(columns, left, strict=True):
        widths = [width_of(cell) for cell in cells]
        spaces = [" " * (max(widths) - width) for width in widths]
        padded.append([cell + pad if is_left else pad + cell for cell, pad in zip(cells, spaces, strict=True)])
    return [(" " * GAP).join(row).rstrip() for row in zip(*padded, strict=True)]


def width_of(text: str) -> int:
    """Returns how many columns of a terminal a text needs: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def cut(text: str, width: int) -> str:
    """Returns a text of at most `width` characters, three or more."""
    return text if len(text) <= width else f"{text[: max(width - 3, 0)]}..."


def _metric_columns(
    group: str, names: Sequence[str], values: Callable[[EpochDone], Mapping[str, float]]
) -> list[Column]:
    def cell_of(name: str) -> Callable[[EpochDone], str]:
        return lambda done: number(values(done)[name]) if name in values(done) else "-"

    rank = 3 if group == "train" else 2  # of a metric; the first one of a group, the loss, has rank 1
    return [
        Column(group, name, max(len(name), _NUMBER_WIDTH), rank if position else 1, cell_of(name))
        for position, name in enumerate(names)
    ]


def _that_fit(columns: Sequence[Column], width: int) -> list[Column]:
    """Drops the columns with the highest ranks, from the right, until the others fit in `width`."""
    left = list(columns)
    while sum(column.width + GAP for column in left) - GAP > width:
        last = max(range(len(left)), key=lambda position: (left[position].rank, position))
        if left[last].rank == 0:
            break
        del left[last]
    return left
