"""Numbers as short text, and the table of epochs, whose columns line up though its rows come one by one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tfloop_cli.events import EpochDone, RunStarted

GAP = 2  # characters between two columns
_NUMBER = 8  # characters that hold what `number` gives


def number(value: float) -> str:
    """`value` in at most 8 characters (9 where it is below -1e5): four decimals where they say something."""
    size = abs(value)
    if size >= 1e6 or 0 < size < 5e-5:
        return f"{value:.1e}"
    return f"{value:.1f}" if size >= 100 else f"{value:.4f}"


def duration(seconds: float) -> str:
    """`seconds` as 2.5s, 1:23 or 1:02:03."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def metrics_text(metrics: Mapping[str, float], prefix: str = "") -> str:
    """Names and values in a row: `loss 0.1234  accuracy 0.9612`."""
    return "  ".join(f"{prefix}{name} {number(value)}" for name, value in metrics.items())


@dataclass(frozen=True)
class Column:
    """One column: what stands above it, and how a cell is had from an epoch.

    Attributes:
        group: a word over neighbouring columns ("train"), or "".
        rank: the column with the highest goes first where the screen is narrow; 0 stays.
    """

    group: str
    name: str
    width: int
    rank: int
    cell: Callable[[EpochDone], str]


class EpochTable:
    """A table with one row an epoch.

    Args:
        started: names the training metrics.
        first: the first epoch, which tells whether there is a validation and of what.
        width: of the screen, in characters.
        unicode: whether there may be more than ASCII.
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
            Column("", " ", 1, 0, lambda done: star if done.best else ""),
        ]
        self._columns = _that_fit(columns, width)

    def header(self) -> list[str]:
        """Two lines: groups over names."""
        groups: list[tuple[str, int]] = []
        for column in self._columns:
            if groups and column.group and groups[-1][0] == column.group:
                groups[-1] = (column.group, groups[-1][1] + GAP + column.width)
            else:
                groups.append((column.group, column.width))
        above = [f" {group} ".center(width, self._line) if group else " " * width for group, width in groups]
        return [(" " * GAP).join(above).rstrip(), self._row([column.name for column in self._columns])]

    def row(self, done: EpochDone) -> str:
        """The line of one epoch."""
        return self._row([column.cell(done) for column in self._columns])

    def _row(self, cells: Sequence[str]) -> str:
        padded = [cell.rjust(column.width) for cell, column in zip(cells, self._columns, strict=True)]
        return (" " * GAP).join(padded).rstrip()


def _metric_columns(
    group: str, names: Sequence[str], values: Callable[[EpochDone], Mapping[str, float]]
) -> list[Column]:
    def cell_of(name: str) -> Callable[[EpochDone], str]:
        return lambda done: number(values(done)[name]) if name in values(done) else "-"

    later = 3 if group == "train" else 2  # a metric's rank; a group's first, the loss, has 1
    return [
        Column(group, name, max(len(name), _NUMBER), later if place else 1, cell_of(name))
        for place, name in enumerate(names)
    ]


def _that_fit(columns: Sequence[Column], width: int) -> list[Column]:
    """`columns` less those of the highest ranks, from the right, until the rest stands within `width`."""
    left = list(columns)
    while sum(column.width + GAP for column in left) - GAP > width:
        last = max(range(len(left)), key=lambda place: (left[place].rank, place))
        if left[last].rank == 0:
            break
        del left[last]
    return left
