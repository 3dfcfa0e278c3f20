"""The epochs of a run as a table: history.csv."""

import csv
import io
import math
from collections.abc import Iterable, Mapping
from typing import Any

from tfloop_cli.events import EpochDone
from tfloop_cli.runs.documents import document


class HistoryTable:
    """The rows of history.csv, one per epoch: numbers with all digits; `nan` is a value that is not finite.

    The columns are `epoch`, `step`, `seconds` (training and validation), `examples_per_second`, `learning_rate` if the
    epoch has it, and one column per metric: `train/loss`, `validation/accuracy`. A cell without a value is empty.

    Args:
        epochs: the first rows.
    """

    def __init__(self, epochs: Iterable[EpochDone] = ()) -> None:
        self._columns = ["epoch", "step", "seconds", "examples_per_second"]
        self._rows: list[Mapping[str, Any]] = []
        self._text = ""
        for epoch in epochs:
            self.add(epoch)

    def add(self, epoch: EpochDone) -> None:
        """Adds the row of an epoch."""
        row = epoch_row(epoch)
        self._rows.append(row)
        if set(row) <= set(self._columns):
            self._text += _lines([row], self._columns)
        else:  # a metric that no earlier epoch has: the others have an empty cell there
            self._columns = list(dict.fromkeys([*self._columns, *row]))
            self._text = _lines(self._rows, self._columns)

    def csv(self) -> bytes:
        """Returns the file: a header, and one line per epoch; UTF-8."""
        return (_lines([{name: name for name in self._columns}], self._columns) + self._text).encode()


def epoch_row(epoch: EpochDone) -> dict[str, Any]:
    """Returns the row of an epoch; see `HistoryTable`."""
    recorded = document(epoch) or {}
    row = {
        "epoch": epoch.epoch,
        "step": epoch.step,
        "seconds": epoch.train_seconds + epoch.validation_seconds,
        "examples_per_second": epoch.examples_per_second,
    }
    if "learning_rate" in recorded:
        row["learning_rate"] = recorded["learning_rate"]
    for split in ("train", "validation"):
        row |= {f"{split}/{name}": value for name, value in (recorded[split] or {}).items()}
    return row


def _lines(rows: Iterable[Mapping[str, Any]], columns: list[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        # Metrics are null in metrics.jsonl unless they are finite: a resumed run cannot tell an infinity from NaN.
        values = [row.get(name, "") for name in columns]
        writer.writerow(["nan" if isinstance(one, float) and not math.isfinite(one) else one for one in values])
    return text.getvalue()
