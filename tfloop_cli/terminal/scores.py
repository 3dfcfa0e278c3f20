"""The output of `tfloop evaluate`: metrics, a table of classes, the most confused pairs of classes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tfloop_cli.events import Evaluated
from tfloop_cli.runs.documents import document
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.display import evaluated_text
from tfloop_cli.terminal.tables import aligned, number


@dataclass(frozen=True)
class ClassScore:
    """Precision, recall and f1 of one class, in [0, 1]; NaN without predictions or without examples.

    Attributes:
        support: number of examples of this class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Confusion:
    """How often one class was predicted as another.

    Attributes:
        count: number of examples of class `true` that were predicted as `predicted`.
        share: `count` as a fraction of all examples of class `true`, in [0, 1].
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
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Prints an evaluation to stdout: aligned text, or one JSON document with `classes` and `confused`.

    Args:
        console: prints it.
        evaluated: the metrics of a split.
        classes: in the order of the labels; empty for a task without classes.
        confused: pairs of classes, the most frequent first.
        facts: the rest of the JSON document: which run it is, and which step.
    """
    if console.json:
        shown = (document(evaluated) or {}) | dict(facts or {})
        if classes:
            shown |= {"classes": [asdict(row) for row in classes], "confused": [asdict(row) for row in confused]}
        console.document(shown)
        return
    console.result(evaluated_text(evaluated))
    if classes:
        rows = [(row.name, *map(number, (row.precision, row.recall, row.f1)), f"{row.support:,}") for row in classes]
        _table(console, ("class", "precision", "recall", "f1", "support"), rows, left=1)
    if confused:
        pairs = [(row.true, row.predicted, f"{row.count:,}", f"{row.share:.1%}") for row in confused]
        _table(console, ("true", "predicted", "count", "fraction of class"), pairs, left=2)


def _table(console: Console, header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> None:
    """Prints aligned columns: the first `left` ones are text, the others are numbers."""
    first, *others = aligned([header, *rows], left=left)
    console.result("")
    console.result(console.heading(first))
    for line in others:
        console.result(line)
