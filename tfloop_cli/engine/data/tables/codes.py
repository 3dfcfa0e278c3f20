"""Finds numbers that are codes, such as those of persons or districts: each value has an effect of its own.

A network is smooth in a number, so that it cannot tell the neighbours 1017 and 1018 apart. A column is a code if the
mean target of a value differs from the line through its neighbours by more than chance (a test for lack of fit).
"""

from dataclasses import dataclass, replace

import numpy as np

from tfloop_cli.engine.data.tables.encoders import ColumnEncoder, Scale
from tfloop_cli.engine.data.tables.encoding import ROUNDING, standardized
from tfloop_cli.engine.data.tables.values import Numbers, Values

MIN_VALUES, MAX_VALUES = 11, 10_000  # fewer are one-hot encoded; more are too large for an embedding
MEAN_ROWS = 5  # per value
MIN_RATIO = 2.0  # of the squared differences from the line to those by chance
MIN_DEVIATIONS = 5.0  # of that ratio above 1
SPREAD = 3.5  # variance of the ratio by chance, times the number of values: neighbours share their differences
MAX_MEANS = 10**7  # values times classes
MAX_ROWS = 200_000  # that decide


@dataclass(frozen=True)
class _Means:
    """Targets by value.

    Attributes:
        values: distinct numbers in ascending order, [values].
        counts: rows of each, [values].
        means: mean targets, [values, targets]: of classes their shares.
        squares: squared distances of the rows from the mean of their value, summed over rows and targets, [values].
    """

    values: np.ndarray
    counts: np.ndarray
    means: np.ndarray
    squares: np.ndarray


def with_edges(encoder: ColumnEncoder, values: Values | None, targets: np.ndarray, classes: int) -> ColumnEncoder:
    """Returns an encoder with its `edges`, if the column is a code; see `code_edges`.

    Args:
        encoder: of a column of any kind.
        values: of the column, as `fit_column` returns them.
        targets, classes: see `code_edges`.
    """
    # Columns of distinct numbers are not even sorted.
    if not isinstance(values, Numbers) or encoder.levels or encoder.distinct * MEAN_ROWS > len(targets):
        return encoder
    return replace(encoder, edges=code_edges(values.values, targets, classes, encoder.scales[0]))


def code_edges(numbers: np.ndarray, targets: np.ndarray, classes: int, scale: Scale) -> tuple[float, ...]:
    """Returns boundaries between the values of a column that is a code, standardized, in ascending order; else ().

    Args:
        numbers: float64 [rows], NaN if missing.
        targets: classes, int [rows], or numbers, [rows, targets].
        classes: the number of classes; 0 for numbers.
        scale: of the column.
    """
    step = -(-len(numbers) // MAX_ROWS)
    some, known = numbers[::step], ~np.isnan(numbers[::step])
    found = np.unique(some[known], return_inverse=True, return_counts=True)
    few = MIN_VALUES <= len(found[0]) <= MAX_VALUES and len(found[1]) >= MEAN_ROWS * len(found[0])
    if not few or len(found[0]) * classes > MAX_MEANS:
        return ()
    if not _is_irregular(_means(*found, targets[::step][known], classes)):
        return ()
    values, counts = np.unique(numbers[~np.isnan(numbers)], return_counts=True)
    own = standardized(values[counts > 1], scale)  # a value of one row belongs to its nearest neighbour
    return tuple(np.unique(((own[1:] + own[:-1]) / 2).astype(np.float32)).tolist())


def _means(values: np.ndarray, codes: np.ndarray, counts: np.ndarray, targets: np.ndarray, classes: int) -> _Means:
    size = len(values)
    if classes:
        shares = np.bincount(codes * classes + targets, minlength=size * classes).reshape(size, classes)
        means = shares / counts[:, np.newaxis]
        return _Means(values, counts, means, counts * (1 - (means**2).sum(axis=1)))
    columns = np.asarray(targets, np.float64).reshape(len(codes), -1).T
    columns = [(one - one.mean()) / (one.std() or 1.0) for one in columns]
    means = np.stack([np.bincount(codes, one, minlength=size) / counts for one in columns], axis=1)
    distances = sum((one - means[codes, number]) ** 2 for number, one in enumerate(columns))
    return _Means(values, counts, means, np.bincount(codes, distances, minlength=size))


def _is_irregular(found: _Means) -> bool:
    """Whether the means differ from the lines through their neighbours by more than chance.

    The variance of each value is that of its rows and its neighbours' rows: it may depend on the number.
    """
    values, counts, means = found.values, found.counts, found.means
    with np.errstate(over="ignore", invalid="ignore"):
        share = (values[2:] - values[1:-1]) / (values[2:] - values[:-2])
    lines = share[:, np.newaxis] * means[:-2] + (1 - share[:, np.newaxis]) * means[2:]
    differences = ((means[1:-1] - lines) ** 2).sum(axis=1)
    differences /= 1 / counts[1:-1] + share**2 / counts[:-2] + (1 - share) ** 2 / counts[2:]
    freedom = np.convolve(counts, np.ones(3), "valid") - 3
    variances = np.convolve(found.squares, np.ones(3), "valid") / np.maximum(freedom, 1)
    known = freedom >= 3
    if known.sum() < MIN_VALUES // 2:
        return False
    ratio = differences[known].sum() / max(variances[known].sum(), ROUNDING)
    return bool(ratio > MIN_RATIO and (ratio - 1) * np.sqrt(known.sum() / SPREAD) > MIN_DEVIATIONS)
