"""Tables of numbers and words: a row an example, a column a feature."""

import math
from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np

from tfloop_cli.engine.data.files import Row, class_names, read_rows
from tfloop_cli.engine.data.spec import Dataset, from_arrays
from tfloop_cli.registry import datasets

MISSING = {"", "na", "n/a", "nan", "null"}  # in whatever case
MOST_VALUES = 1000  # of a column of words; with more it is free text, or numbers with a slip in them

Encode = Callable[[list[Row]], np.ndarray]  # rows -> some of their numbers, float64 [rows, numbers]


@datasets.register("table")
def table(*, train: str, test: str | None = None, target: str, classes: Literal["auto"] | bool = "auto") -> Dataset:
    """Rows of a .csv, .tsv or .jsonl file, one column of which is to be predicted from all others.

    A column whose training values are all numbers becomes one number, less their mean and over their deviation. Any
    other becomes a 0 or 1 for each of its training values; a test value that was never trained on is 0 in all of them.
    A missing value (an empty cell, NA, N/A, NaN or null) is an error.

    Args:
        train: the file to train on.
        test: the file to be scored on at the end; null: none.
        target: the column to predict.
        classes: whether its values are classes; auto: yes, unless all of the training split's are numbers and one at
            least is not whole (0.5; 3 and 3.0 are whole).
    """
    rows = list(read_rows(train))
    columns = [column for column in rows[0].cells if column != target]
    _check(rows, [*rows[0].cells, target], exactly=True)
    if not columns:
        rows[0].refuse(f"there is no column to predict `{target}` from")
    answers = [row.cells[target] for row in rows]
    if classes == "auto":
        classes = not all(map(_is_number, answers)) or all(float(answer).is_integer() for answer in answers)
    names = class_names(answers) if classes else ()
    encodes = [_encoder(rows, column) for column in columns]
    splits = {"train": rows}
    if test:
        splits["test"] = list(read_rows(test))
        _check(splits["test"], [*columns, target])
    return from_arrays(
        {
            name: (
                np.concatenate([encode(part) for encode in encodes], axis=1, dtype=np.float32, casting="same_kind"),
                _labels(part, target, names) if classes else _numbers(part, target).astype(np.float32),
            )
            for name, part in splits.items()
        },
        class_names=names,
    )


def _check(rows: Iterable[Row], columns: list[str], exactly: bool = False) -> None:
    """Refuses a row that lacks a value or, where the columns are to be these exactly, has one more."""
    for row in rows:
        for column in columns:
            if row.cell(column).strip().lower() in MISSING:
                row.refuse(f"column `{column}`: the value is missing", hint="fill it in, or take the row out")
        if exactly and len(row.cells) > len(set(columns)):
            more = next(column for column in row.cells if column not in columns)
            row.refuse(f"column `{more}` is not in the rows before")


def _encoder(rows: list[Row], column: str) -> Encode:
    """How a column becomes numbers, by what the training split has in it."""
    words = [row for row in rows if not _is_number(row.cells[column])]
    if not words:
        numbers = _numbers(rows, column)
        mean, deviation = numbers.mean(), numbers.std() or 1.0
        return lambda some: (_numbers(some, column)[:, None] - mean) / deviation
    values = class_names(row.cells[column] for row in rows)
    if len(values) > MOST_VALUES:
        words[0].refuse(
            f"column `{column}`: `{words[0].cells[column]}` is not a number, and {len(values)} different values are "
            f"too many to be words (at most {MOST_VALUES})",
            hint="mend the value, or take the column out",
        )
    return lambda some: (np.array([row.cells[column] for row in some])[:, None] == np.array(values)).astype(np.float64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(rows: list[Row], column: str) -> np.ndarray:
    """A column of numbers, float64 [rows]."""
    for row in rows:
        text = row.cells[column]
        if not _is_number(text):
            row.refuse(f"column `{column}`: `{text}` is not a number, as all of the training split's values are")
        if not math.isfinite(float(text)):
            row.refuse(f"column `{column}`: {text} is not finite")
    return np.array([float(row.cells[column]) for row in rows])


def _labels(rows: list[Row], column: str, names: tuple[str, ...]) -> np.ndarray:
    """A column of classes, int32 [rows]."""
    numbers = {name: number for number, name in enumerate(names)}
    for row in rows:
        if row.cells[column] not in numbers:
            row.refuse(f"column `{column}`: the class `{row.cells[column]}` does not occur in the training split")
    return np.array([numbers[row.cells[column]] for row in rows], np.int32)
