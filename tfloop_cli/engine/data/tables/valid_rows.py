"""The rows of a table that are used: those with a target, with a known class, and maybe without missing values."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from tfloop_cli.engine.data.invalid_examples import count_skipped, require_valid_examples, skip_example
from tfloop_cli.engine.data.problems import invalid_row
from tfloop_cli.engine.data.tables.encoders import ColumnEncoder, TableEncoders
from tfloop_cli.engine.data.tables.encoding import Settings, wrong_value, wrong_values
from tfloop_cli.engine.data.tables.reading import Rows, listing
from tfloop_cli.engine.data.tables.targets import UNUSABLE
from tfloop_cli.engine.data.tables.values import Values
from tfloop_cli.engine.data.tables.vectors import length_of

_SHOWN = 10  # classes that a message names


def with_target(rows: Rows, targets: np.ndarray, usable: np.ndarray, names: Sequence[str]) -> tuple[Rows, np.ndarray]:
    """Returns the rows with a usable target, and their targets; the others are counted, and skipped in any case.

    Args:
        rows: with all targets.
        targets, usable: see `encode_target`.
        names: of the columns.

    Raises:
        TfloopError: no row has a usable target (exit code 4).
    """
    if usable.all():
        return rows, targets
    first = int(np.flatnonzero(~usable)[0])
    cells = [rows.table.column(name)[first].as_py() for name in names]
    values = ", ".join("an empty cell" if cell in (None, "") else f"`{cell}`" for cell in cells)
    error = invalid_row(rows.split, *rows.place(first), f"column {listing(names)}: no target: {values}")
    count_skipped(rows.split, error, int((~usable).sum()))
    require_valid_examples(rows.split, int(usable.sum()))
    if not usable.any():
        raise error
    return rows.subset(usable), targets[usable]


def with_known_class(rows: Rows, targets: np.ndarray, name: str, classes: Sequence[str]) -> tuple[Rows, np.ndarray]:
    """Returns the rows with one of the classes, and their targets; the others are invalid examples."""
    unknown = targets == UNUSABLE if targets.dtype == np.int32 else np.zeros(len(targets), bool)
    if not unknown.any():
        return rows, targets
    first = int(np.flatnonzero(unknown)[0])
    value = rows.table.column(name)[first].as_py()
    problem = f"column `{name}`: the class `{value}` does not occur in the training split"
    hint = f"the classes are {listing(classes[:_SHOWN])}" + (", ..." if len(classes) > _SHOWN else "")
    skip_example(rows.split, invalid_row(rows.split, *rows.place(first), problem, hint), int(unknown.sum()))
    require_valid_examples(rows.split, int((~unknown).sum()))
    return rows.subset(~unknown), targets[~unknown]


def complete_rows(
    rows: Rows, columns: Sequence[ColumnEncoder], values: Mapping[str, Values], missing: str
) -> np.ndarray:
    """Returns which rows are used, bool [rows]: with `missing: skip` and `error`, those without a missing value.

    Raises:
        TfloopError: with `missing: error`, the first missing value (exit code 4).
    """
    complete = np.ones(rows.table.num_rows, bool)
    if missing == "impute":
        return complete
    for column in columns:
        if column.name in values:
            complete &= ~values[column.name].missing
    if complete.all():
        return complete
    first = int(np.flatnonzero(~complete)[0])
    name = next(column.name for column in columns if column.name in values and values[column.name].missing[first])
    hint = "add the value, or set `missing: impute` or `missing: skip`"
    error = invalid_row(rows.split, *rows.place(first), f"column `{name}`: the value is missing", hint)
    if missing == "error":
        raise error
    count_skipped(rows.split, error, int((~complete).sum()))
    if not complete.any():
        raise error
    return complete


def require_lengths(rows: Rows, trained: Collection[str]) -> None:
    """Raises TfloopError (exit code 4) if a vector is longer than in training; see `flat`."""
    for name in rows.table.column_names:
        vector, _, number = name.rpartition(".")
        length = length_of(vector, trained)
        if length and number == str(length) and any(part.file.kind not in ("csv", "excel") for part in rows.parts):
            rows.refuse(f"split `{rows.split}`: `{vector}` has more values than the {length} of training")


def wrong_notes(rows: Rows, encoders: TableEncoders, values: Mapping[str, Values], settings: Settings) -> list[str]:
    """Returns notes about values that are no numbers or no dates, and count as missing.

    Raises:
        TfloopError: all values of a column are: they have another unit, or another order of day and month (exit code
            4).
    """
    notes = []
    for column in encoders.used:
        wrong = wrong_values(rows.table.column(column.name), column, values[column.name], settings)
        if not wrong:
            continue
        text = next(iter(wrong.values()))
        if values[column.name].missing.all():
            rows.refuse(wrong_value(column, text))
        notes.append(f"{rows.split}: {len(wrong):,} value(s) of `{column.name}` such as `{text}` are no {column.kind}s")
    return notes
