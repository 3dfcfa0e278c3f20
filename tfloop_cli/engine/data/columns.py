"""Columns that examples can be held out by; see `Dataset.columns`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfloop_cli.config.suggestions import nearest
from tfloop_cli.errors import ExitCode, TfloopError

Columns = Mapping[str, Mapping[str, np.ndarray]]  # name of a column -> name of a split -> one value per example


def as_columns(columns: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, int]) -> Columns:
    """Returns columns of lists or arrays as arrays.

    Args:
        columns: as in `from_arrays`.
        sizes: name of a split -> its number of examples.

    Raises:
        TfloopError: a column does not have one value per example, or `train` lacks it (exit code 4).
    """
    arrays = {
        column: {split: np.asarray(values) for split, values in by_split.items()}
        for column, by_split in columns.items()
    }
    for column, by_split in arrays.items():
        for split, values in by_split.items():
            if values.shape != (sizes.get(split),):
                _refuse(split, f"its column `{column}` has shape {values.shape}", sizes)
        if "train" in sizes and "train" not in by_split:
            _refuse("train", f"it has no column `{column}`", sizes)
    return arrays


def columns_of(splits: Mapping[str, Mapping[str, Sequence[Any] | np.ndarray]]) -> Columns:
    """Returns columns from name of a split -> name of a column -> one value per example; lists become objects."""
    names = dict.fromkeys(name for by_column in splits.values() for name in by_column)
    return {
        name: {
            split: values if isinstance(values := by_column[name], np.ndarray) else np.array(values, object)
            for split, by_column in splits.items()
            if name in by_column
        }
        for name in names
    }


def with_rows(columns: Columns, split: str, rows: np.ndarray) -> Columns:
    """Returns the columns with some examples of a split, int64 [kept]; the others are skipped."""
    return {
        column: {**by_split, split: by_split[split][rows]} if split in by_split else by_split
        for column, by_split in columns.items()
    }


def unusable_column(key: str, column: str, problem: str, usable: Iterable[str], label: str) -> TfloopError:
    """Returns the error (exit code 2) for a column that examples cannot be held out by.

    Args:
        key: that names the column, `group` or `split_by`.
        column: its name.
        problem: what is wrong with it.
        usable: the names of the columns that can be used.
        label: of these names: "the columns are".
    """
    names = list(usable)
    hint = nearest(column, names, label) if names else f"remove `{key}` from the config"
    return TfloopError(f"`{key}: {column}`: {problem}", hint=hint)


def _refuse(split: str, problem: str, sizes: Mapping[str, int]) -> None:
    raise TfloopError(
        f"dataset split `{split}`: {problem}, and it has {sizes.get(split, 0)} examples", code=ExitCode.DATA
    )
