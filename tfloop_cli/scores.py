"""What `tfloop evaluate` shows: metrics, a table of classes, the most confused pairs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tfloop_cli.console import Console
from tfloop_cli.display import evaluated_text
from tfloop_cli.documents import document
from tfloop_cli.events import Evaluated
from tfloop_cli.table import number


@dataclass(frozen=True)
class ClassScore:
    """One class: precision, recall and f1 in [0, 1] (NaN where nothing was predicted, or there is no example).

    Attributes:
        support: how many examples truly are of this class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Confusion:
    """How often one class was taken for another.

    Attributes:
        count: examples of class `true` that were predicted as `predicted`.
        share: `count` over all examples of class `true`, in [0, 1].
    """

    true: str
    predicted: str
    count: int
    share: float


def show_scores(
    console: Console,
    evaluated: Evaluated,
    classes: Sequence[ClassScore] = (),
    confused: Sequence[Confusion] = (),
) -> None:
    """Writes an evaluation to stdout: aligned text, or one JSON document with `classes` and `confused` in it.

    Args:
        classes: in the order of the labels; empty for a task without classes.
        confused: the worst first.
    """
    if console.json:
        told = document(evaluated) or {}
        if classes:
            told |= {"classes": [asdict(row) for row in classes], "confused": [asdict(row) for row in confused]}
        console.document(told)
        return
    console.result(evaluated_text(evaluated))
    if classes:
        rows = [(row.name, *map(number, (row.precision, row.recall, row.f1)), f"{row.support:,}") for row in classes]
        _table(console, ("class", "precision", "recall", "f1", "support"), rows, left=1)
    if confused:
        pairs = [(row.true, row.predicted, f"{row.count:,}", f"{row.share:.1%}") for row in confused]
        _table(console, ("true", "predicted", "count", "share of true"), pairs, left=2)


def _table(console: Console, header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> None:
    """The first `left` columns hold words, the others numbers."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    console.result("")
    console.result(console.heading(line(header)))
    for row in rows:
        console.result(line(row))
