"""Tables of numbers and categories: one row per example, one column per feature."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from tfloop_cli.engine.data.array_dataset import from_arrays
from tfloop_cli.engine.data.csv_and_jsonl import Row, class_names, read_rows
from tfloop_cli.engine.data.invalid_examples import keep_valid, skips_invalid_examples
from tfloop_cli.engine.data.spec import Dataset
from tfloop_cli.registry import datasets
from tfloop_cli.registry.argument_types import OnResume

MISSING = {"", "na", "n/a", "nan", "null"}  # in any case
MAX_CATEGORIES = 1000  # a column with more is free text, or numbers with an error in one of them

Encode = Callable[[list[Row]], np.ndarray]  # rows -> features of one column, float64 [rows, features]


@datasets.register("table")
def table(
    *,
    train: Annotated[Path, OnResume.CHANGES_REST],
    test: Annotated[Path | None, OnResume.CHANGES_REST] = None,
    target: str,
    classes: Literal["auto"] | bool = "auto",
) -> Dataset:
    """Rows of a .csv, .tsv or .jsonl file; one column is predicted from all others.

    A column is used as numbers if all its values in the training file are numbers: they are standardized (zero mean,
    unit variance). Any other column is used as categories, one input for each distinct value (one-hot encoding), also
    if a single value of it is a word; a value that only the test file has is encoded as zeros. A column with words and
    more than 1000 distinct values is refused. Rows with a missing value (an empty cell, NA, N/A, NaN or null) are
    invalid examples, see `on_bad_example`.

    Args:
        train: the training file.
        test: the test file; null: none.
        target: the column to predict.
        classes: true: each distinct target is a class (`task: classification`). false: targets are numbers
            (`task: regression`). auto: false if all targets of the training file are numbers and one has a fraction,
            such as 0.5; else true. So set it to false to predict whole numbers, such as counts or years.
    """
    rows = list(read_rows(train, "train"))
    columns = [column for column in rows[0].cells if column != target]
    rows[0].cell(target)  # a wrong column name is an error even if invalid examples are skipped
    if not columns:
        rows[0].refuse(f"there is no other column to predict `{target}` from")
    rows = keep_valid("train", rows, lambda row: _check_filled(row, [*columns, target], exactly=True))
    values = [row.cells[target] for row in rows]
    if classes == "auto":
        classes = not all(map(_is_number, values)) or all(float(value).is_integer() for value in values)
    numeric = [column for column in columns if _is_numeric(rows, column)] + ([] if classes else [target])
    rows = keep_valid("train", rows, lambda row: _check_numbers(row, numeric))
    names = class_names(row.cells[target] for row in rows) if classes else ()
    splits = {"train": rows}
    if test:

        def check(row: Row) -> None:
            _check_filled(row, [*columns, target])
            _check_numbers(row, numeric)
            if classes:
                _check_class(row, target, names)

        splits["test"] = keep_valid("test", read_rows(test, "test"), check)
    encoders = [_standardizer(rows, column) if column in numeric else _one_hot(rows, column) for column in columns]
    return from_arrays(
        {
            name: (
                np.concatenate([encode(part) for encode in encoders], axis=1, dtype=np.float32, casting="same_kind"),
                _labels(part, target, names) if classes else _numbers(part, target).astype(np.float32),
            )
            for name, part in splits.items()
        },
        class_names=names,
    )


def _check_filled(row: Row, columns: list[str], exactly: bool = False) -> None:
    """Raises TfloopError for a row with a missing value or, with `exactly`, an additional column."""
    for column in columns:
        if row.cell(column).strip().lower() in MISSING:
            row.refuse(f"column `{column}`: the value is missing", hint="add the value, or remove the row")
    if exactly and len(row.cells) > len(columns):
        extra = next(column for column in row.cells if column not in columns)
        row.refuse(f"earlier rows have no column `{extra}`")


def _check_numbers(row: Row, columns: list[str]) -> None:
    for column in columns:
        text = row.cells[column]
        if not _is_number(text):
            row.refuse(f"column `{column}`: `{text}` is not a number, and the column is used as numbers")
        if not math.isfinite(float(text)):
            row.refuse(f"column `{column}`: {text} is not finite")


def _check_class(row: Row, column: str, names: tuple[str, ...]) -> None:
    if row.cells[column] not in names:
        row.refuse(f"column `{column}`: the class `{row.cells[column]}` does not occur in the training split")


def _is_numeric(rows: list[Row], column: str) -> bool:
    """Whether a column has numbers: all training values, or most of them if invalid examples are skipped."""
    words = [row for row in rows if not _is_number(row.cells[column])]
    values = {row.cells[column] for row in rows}
    if not words or len(values) <= MAX_CATEGORIES:
        return not words
    if not skips_invalid_examples() or 2 * len(words) >= len(rows):
        words[0].refuse(
            f"column `{column}`: `{words[0].cells[column]}` is not a number, and {len(values)} distinct values are "
            f"too many for categories (at most {MAX_CATEGORIES})",
            hint="fix the value, or remove the column",
        )
    return True


def _standardizer(rows: list[Row], column: str) -> Encode:
    """Standardizes a column of numbers by the mean and standard deviation of the training split."""
    numbers = _numbers(rows, column)
    mean, deviation = numbers.mean(), numbers.std() or 1.0
    return lambda part: (_numbers(part, column)[:, None] - mean) / deviation


def _one_hot(rows: list[Row], column: str) -> Encode:
    """One-hot encodes a column of categories by the values of the training split."""
    values = np.array(class_names(row.cells[column] for row in rows))
    return lambda part: (np.array([row.cells[column] for row in part])[:, None] == values).astype(np.float64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(rows: list[Row], column: str) -> np.ndarray:
    """Returns a column of numbers, float64 [rows]."""
    return np.array([float(row.cells[column]) for row in rows])


def _labels(rows: list[Row], column: str, names: tuple[str, ...]) -> np.ndarray:
    """Returns a column of classes, int32 [rows]."""
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers[row.cells[column]] for row in rows], np.int32)
