"""Columns that alone predict the target, as a copy of it does, or a value that is known only afterwards.

The rule: of at most 10,000 training rows, spread evenly, every other one says which target belongs to which value of
the column: the most frequent class, or the mean rank of the numbers. The nearest value decides for the other rows. If
that removes at least 98% of the errors of a guess without the column, the column is a leak. Errors are wrong classes,
or squared distances of ranks, so that a few far targets do not decide.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data import Data
from tfloop_cli.engine.data.structures import is_several
from tfloop_cli.engine.inspection.scanning import blocks
from tfloop_cli.events import Finding

MAX_ROWS, MIN_ROWS = 10_000, 40
MAX_COLUMNS, MAX_CLASSES = 1000, 1000
MIN_ERRORS = 5  # of a guess without the column; with fewer, chance decides
THRESHOLD = 0.98  # of the errors that a leak removes


def find_leaks(data: Data) -> list[Finding]:
    """Returns a finding for each column of a table, or feature of a vector, that alone predicts the target."""
    spec = data.spec
    several = is_several(spec.inputs) or is_several(spec.targets)
    if several or spec.vocabulary or len(spec.input_shape) != 1 or spec.classes > MAX_CLASSES:
        return []
    found_inputs, found_targets = zip(*blocks(data, "train", MAX_ROWS), strict=True)
    inputs, targets = np.concatenate(found_inputs), tf.concat(found_targets, axis=0)
    if spec.classes and (spec.one_hot or spec.target_shape in ((), (1,))):
        values = spec.labels_of(targets).numpy()
    elif not spec.classes and int(np.prod(spec.target_shape)) == 1:
        values = ranks(targets.numpy().reshape(len(inputs)))
    else:
        return []
    found = []
    for name, block in _columns(data, inputs):
        removed = removed_errors(codes_of(block), values)
        if removed >= THRESHOLD:
            what = "wrong classes" if spec.classes else "variance of the target"
            message = f"column `{name}` alone predicts the target: it removes {removed:.1%} of the {what}"
            found.append(Finding("leak", message, column=name))
    return found


def _columns(data: Data, inputs: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the features of each column, [rows, features]; of a vector without columns, each feature."""
    bounds: dict[str, tuple[int, int]] = {}
    for one in data.spec.columns:
        bounds[one.name] = (bounds.get(one.name, (one.start, 0))[0], one.stop)
    columns: Mapping[str, tuple[int, int]] = bounds or {str(n): (n, n + 1) for n in range(inputs.shape[1])}
    for name, (start, stop) in list(columns.items())[:MAX_COLUMNS]:
        yield name, inputs[:, start:stop]


def codes_of(block: np.ndarray) -> np.ndarray:
    """Returns the position of each row among the distinct ones, in order of the first feature, then the others."""
    if block.shape[1] == 1:
        return np.unique(block[:, 0], return_inverse=True)[1]
    return np.unique(block, axis=0, return_inverse=True)[1].reshape(len(block))


def ranks(numbers: np.ndarray) -> np.ndarray:
    """Returns the mean rank of each number among all, float64 [n]."""
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((2 * last - counts - 1) / 2)[inverse]


def removed_errors(codes: np.ndarray, targets: np.ndarray) -> float:
    """Returns which fraction of the errors of a guess a column removes, at most 1; 0 if there are too few rows.

    Args:
        codes: of the values of the column, int64 [rows]; near codes are near values.
        targets: classes, an int dtype, or ranks, float64 [rows].
    """
    if len(codes) < MIN_ROWS:
        return 0.0
    fit, held = codes[::2], codes[1::2]
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
