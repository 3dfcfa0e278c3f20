"""The encoding of a table whose columns are all numbers, as part of a model: it takes numbers as they are in the file.

It computes in float32 what `encoding.encode` computes in float64.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfloop_cli.engine.data.tables.encoders import ColumnEncoder, Scale, TableEncoders

LARGEST = 1e15  # of a standardized number: its square is finite in float32, and it is encoded as 3
BOUND = 3.0  # of encoded numbers, see `encoding.standardized`
EXACT = 2**23  # float32 has all multiples of 1/2 up to here
MAX_RATIO = 64  # of median and width: beyond, rounding to float32 moves an encoded number by more than 4e-6


def numeric_columns(encoders: Mapping[str, Any]) -> list[ColumnEncoder]:
    """Returns the columns of a table in order if all that are used are numbers that suit float32; else none.

    Args:
        encoders: of a run, as `TableEncoders.to_json` has them, or those of another dataset.
    """
    if encoders.get("dataset") != "table":
        return []
    columns = TableEncoders.from_json(encoders).used
    suits = all(one.kind == "number" and _is_exact(one.scales[0]) for one in columns)
    return columns if suits else []


def other_columns(encoders: Mapping[str, Any]) -> list[str]:
    """Returns the names of the columns that are not encoded inside of a model."""
    columns = TableEncoders.from_json(encoders).used if encoders.get("dataset") == "table" else []
    return [one.name for one in columns if one.kind != "number" or not _is_exact(one.scales[0])]


def _is_exact(scale: Scale) -> bool:
    """Whether float32 has enough digits for numbers of such a column; whole numbers are exact in it."""
    whole = abs(scale.median) < EXACT and (2 * scale.median).is_integer()
    return whole or abs(scale.median) <= MAX_RATIO * scale.width


def encode(numbers: keras.KerasTensor, columns: list[ColumnEncoder]) -> keras.KerasTensor:
    """Returns the features of rows, float32 [batch, features].

    Args:
        numbers: of the columns in order, float32 [batch, columns]; NaN is a missing value.
        columns: their encoders.
    """
    median = np.array([one.scales[0].median for one in columns])
    width = np.array([one.scales[0].width for one in columns])
    # The rest of the median that float32 does not have is subtracted too.
    high, missing = median.astype(np.float32), ops.isnan(numbers)
    rest = (median - high).astype(np.float32)
    factor = np.where(width > 0, 1 / np.where(width > 0, width, 1), 0).astype(np.float32)
    known = ops.where(missing, high, numbers)
    scaled = ops.clip((ops.clip(known, -1e30, 1e30) - high - rest) * factor, -LARGEST, LARGEST)
    scaled = ops.where(missing, 0.0, scaled)
    scaled = scaled / ops.sqrt(1 + ops.square(scaled / BOUND))
    flags = ops.cast(missing, "float32")
    features = []
    for number, column in enumerate(columns):
        this = slice(number, number + 1)
        features.append(scaled[:, this])
        if column.levels:
            levels = np.array([column.levels], np.float32)
            features.append(ops.cast(ops.equal(numbers[:, this], levels), "float32"))
        features += [flags[:, this]] if column.indicator else []
    return ops.concatenate(features, axis=1)


def decode(rows: np.ndarray, columns: list[ColumnEncoder]) -> np.ndarray:
    """Returns numbers that are encoded as such rows: float32 [rows, columns], NaN where the indicator is 1.

    Args:
        rows: as the dataset has them, float32 [rows, features].
        columns: see `encode`.
    """
    numbers, start = np.zeros([len(rows), len(columns)]), 0
    for number, column in enumerate(columns):
        scale, stop = column.scales[0], start + column.width
        encoded = np.clip(rows[:, start].astype(np.float64), -BOUND * (1 - 1e-7), BOUND * (1 - 1e-7))
        numbers[:, number] = encoded / np.sqrt(1 - np.square(encoded / BOUND)) * scale.width + scale.median
        for position, level in enumerate(column.levels, start + 1):
            numbers[rows[:, position] == 1, number] = float(level)
        if column.indicator:
            numbers[rows[:, stop - 1] == 1, number] = np.nan
        start = stop
    return numbers.astype(np.float32)
