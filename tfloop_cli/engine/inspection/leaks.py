"""Columns that alone predict the target, as a copy of it does, or a value that is known only afterwards.

The rule: of at most 10,000 training rows, spread evenly, every other one says which target belongs to which value of
the column: the most frequent class, or the mean rank of the numbers. The nearest value decides for the other rows. If
that removes at least 98% of the errors of a guess without the column, the column is a leak. Errors are wrong classes,
or squared distances of ranks, so that a few far targets do not decide.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tfloop_cli.data_summary import Finding
from tfloop_cli.engine.data import Data
from tfloop_cli.engine.data.structures import is_several
from tfloop_cli.engine.inspection.scanning import blocks, hash_rows

MAX_ROWS, MIN_ROWS = 10_000, 40
MAX_COLUMNS, MAX_CLASSES = 1000, 1000
FAR = 100.0  # farther than two standardized numbers, which are between -3 and 3
MIN_ERRORS = 5  # of a guess without the column; with fewer, chance decides
THRESHOLD = 0.98  # of the errors that a leak removes


def find_leaks(data: Data, rows: int = MAX_ROWS, columns: int = MAX_COLUMNS) -> list[Finding]:
    """Returns a finding for each column of a table, or feature of a vector, that alone predicts the target.

    Args:
        data: of a run.
        rows: how many are looked at.
        columns: likewise, of the input.
    """
    spec = data.spec
    several = is_several(spec.inputs) or is_several(spec.targets)
    if several or spec.vocabulary or len(spec.input_shape) != 1 or spec.classes > MAX_CLASSES:
        return []
    found_inputs, found_targets = zip(*blocks(data, "train", rows), strict=True)
    inputs, targets = np.concatenate(found_inputs), tf.concat(found_targets, axis=0)
    if spec.classes and (spec.one_hot or spec.target_shape in ((), (1,))):
        values = spec.labels_of(targets).numpy()
    elif not spec.classes and int(np.prod(spec.target_shape)) == 1:
        values = ranks(targets.numpy().reshape(len(inputs)))
    else:
        return []
    found = []
    for name, numbers in _columns(data, inputs, columns):
        removed = removed_errors(numbers, values)
        if removed >= THRESHOLD:
            what = "wrong classes" if spec.classes else "variance of the target"
            message = f"column `{name}` alone predicts the target: it removes {removed:.1%} of the {what}"
            found.append(Finding("leak", message, column=name))
    return found


def _columns(data: Data, inputs: np.ndarray, count: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields a number per row for each column, or each feature of a vector without columns: float64 [rows].

    Equal values of a column have equal numbers, and near ones near numbers. There are at most about `count` of them.
    """
    numbers: dict[str, np.ndarray] = {}
    for one in data.spec.columns[:count]:
        block = inputs[:, one.start : one.stop]
        if one.kind == "flags":  # each combination is far from the others: a category, or whether a value is missing
            values = FAR * np.unique(hash_rows([block]), return_inverse=True)[1]
        else:  # a number, or the days of a date
            values = block[:, 0].astype(np.float64)
        numbers[one.name] = numbers.get(one.name, 0) + values
    yield from numbers.items()
    for feature in range(0 if data.spec.columns else min(inputs.shape[1], count)):
        yield str(feature), inputs[:, feature].astype(np.float64)


def ranks(numbers: np.ndarray) -> np.ndarray:
    """Returns the mean rank of each number among all, float64 [n]."""
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((2 * last - counts - 1) / 2)[inverse]


def removed_errors(numbers: np.ndarray, targets: np.ndarray) -> float:
    """Returns which fraction of the errors of a guess a column removes, at most 1; 0 if there are too few rows.

    Args:
        numbers: of the column, float64 [rows].
        targets: classes, an int dtype, or ranks, float64 [rows].
    """
    if len(numbers) < MIN_ROWS:
        return 0.0
    fit, held = numbers[::2], numbers[1::2]
    expected, actual = targets[::2], targets[1::2]
    values, inverse = np.unique(fit, return_inverse=True)
    if np.issubdtype(targets.dtype, np.integer):
        classes = int(targets.max()) + 1
        counts = np.bincount(inverse * classes + expected, minlength=len(values) * classes).reshape(-1, classes)
        errors = float((counts.argmax(axis=1)[_nearest(values, held)] != actual).sum())
        without = float((actual != np.bincount(expected).argmax()).sum())
        return 1 - errors / without if without >= MIN_ERRORS else 0.0
    means = np.bincount(inverse, expected) / np.bincount(inverse)
    without = float(np.square(actual - expected.mean()).sum())
    errors = float(np.square(np.interp(held, values, means) - actual).sum())
    return 1 - errors / without if without else 0.0


def _nearest(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns the index of the nearest value for each wanted one; the values are sorted."""
    right = np.searchsorted(values, wanted).clip(max=len(values) - 1)
    left = (right - 1).clip(min=0)
    return np.where(abs(wanted - values[left]) < abs(values[right] - wanted), left, right)
