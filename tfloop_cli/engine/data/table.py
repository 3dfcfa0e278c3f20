"""Tables of numbers and words: a row an example, a column a feature."""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from tfloop_cli.engine.data.bad import kept, skipping
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
    A missing value (an empty cell, NA, N/A, NaN or null) makes a bad example, and so does a word among numbers where
    the values are too many to be words.

    Args:
        train: the file to train on.
        test: the file to be scored on at the end; null: none.
        target: the column to predict.
        classes: whether its values are classes; auto: yes, unless all of the training split's are numbers and one at
            least is not whole (0.5; 3 and 3.0 are whole).
    """
    rows = list(read_rows(train, "train"))
    columns = [column for column in rows[0].cells if column != target]
    rows[0].cell(target)  # whatever is done with bad rows: here the name is wrong
    if not columns:
        rows[0].refuse(f"there is no column to predict `{target}` from")
    rows = kept("train", rows, lambda row: _check_filled(row, [*columns, target], exactly=True))
    answers = [row.cells[target] for row in rows]
    if classes == "auto":
        classes = not all(map(_is_number, answers)) or all(float(answer).is_integer() for answer in answers)
    numeric = [column for column in columns if _is_numeric(rows, column)] + ([] if classes else [target])
    rows = kept("train", rows, lambda row: _check_numbers(row, numeric))
    names = class_names(row.cells[target] for row in rows) if classes else ()
    splits = {"train": rows}
    if test:

        def check(row: Row) -> None:
            _check_filled(row, [*columns, target])
            _check_numbers(row, numeric)
            if classes:
                _check_class(row, target, names)

        splits["test"] = kept("test", read_rows(test, "test"), check)
    encodes = [_numbers_of(rows, column) if column in numeric else _words_of(rows, column) for column in columns]
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


def _check_filled(row: Row, columns: list[str], exactly: bool = False) -> None:
    """Refuses a row that lacks a value or, where the columns are to be these exactly, has one more."""
    for column in columns:
        if row.cell(column).strip().lower() in MISSING:
            row.refuse(f"column `{column}`: the value is missing", hint="fill it in, or take the row out")
    if exactly and len(row.cells) > len(columns):
        more = next(column for column in row.cells if column not in columns)
        row.refuse(f"column `{more}` is not in the rows before")


def _check_numbers(row: Row, columns: list[str]) -> None:
    for column in columns:
        text = row.cells[column]
        if not _is_number(text):
            row.refuse(f"column `{column}`: `{text}` is not a number, as the training split's values are")
        if not math.isfinite(float(text)):
            row.refuse(f"column `{column}`: {text} is not finite")


def _check_class(row: Row, column: str, names: tuple[str, ...]) -> None:
    if row.cells[column] not in names:
        row.refuse(f"column `{column}`: the class `{row.cells[column]}` does not occur in the training split")


def _is_numeric(rows: list[Row], column: str) -> bool:
    """Whether the training split's values are numbers: all of them, or most where the others are left out."""
    words = [row for row in rows if not _is_number(row.cells[column])]
    values = {row.cells[column] for row in rows}
    if not words or len(values) <= MOST_VALUES:
        return not words
    if not skipping() or 2 * len(words) >= len(rows):
        words[0].refuse(
            f"column `{column}`: `{words[0].cells[column]}` is not a number, and {len(values)} different values are "
            f"too many to be words (at most {MOST_VALUES})",
            hint="mend the value, or take the column out",
        )
    return True


def _numbers_of(rows: list[Row], column: str) -> Encode:
    """A column of numbers becomes one, by the training split's mean and deviation."""
    numbers = _numbers(rows, column)
    mean, deviation = numbers.mean(), numbers.std() or 1.0
    return lambda some: (_numbers(some, column)[:, None] - mean) / deviation


def _words_of(rows: list[Row], column: str) -> Encode:
    """A column of words becomes a 0 or 1 for each that the training split has."""
    values = np.array(class_names(row.cells[column] for row in rows))
    return lambda some: (np.array([row.cells[column] for row in some])[:, None] == values).astype(np.float64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(rows: list[Row], column: str) -> np.ndarray:
    """A column of numbers, float64 [rows]."""
    return np.array([float(row.cells[column]) for row in rows])


def _labels(rows: list[Row], column: str, names: tuple[str, ...]) -> np.ndarray:
    """A column of classes, int32 [rows]."""
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers[row.cells[column]] for row in rows], np.int32)
