"""The targets of arrays in files: classes as numbers from 0, or numbers."""

from collections.abc import Mapping

import numpy as np

from tfloop_cli.engine.data.array_encoders import ArrayEncoders
from tfloop_cli.engine.data.array_files import StoredArray
from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.class_names import class_names
from tfloop_cli.engine.data.invalid_examples import skips_invalid_examples

MAX_WHOLE_CLASSES, MIN_ROWS_PER_CLASS = 20, 5


def labels_of(
    stored: Mapping[str, StoredArray], encoders: ArrayEncoders | None
) -> tuple[dict[str, np.ndarray], tuple[str, ...], str]:
    """Returns the targets of each split, classes as numbers from 0; the names of the classes, () for others; a note."""
    targets = {name: one.read() for name, one in stored.items()}
    first = next(iter(targets.values()))
    as_floats = {name: one.astype(np.float32) if one.dtype.kind in "iu" else one for name, one in targets.items()}
    if encoders and not encoders.numbered:
        return (targets if encoders.class_names else as_floats), (), ""
    if encoders:
        names = encoders.class_names
    elif first.ndim > 2 or (first.ndim == 2 and first.shape[1] != 1) or first.dtype.kind not in "iuUS":
        return targets, (), ""
    elif build_context().numbers and first.dtype.kind in "iu":
        return as_floats, (), ""
    else:
        values = np.unique(first)
        if build_context().decides and first.dtype.kind in "iu" and not _are_classes(values, len(first)):
            found = f"targets: {len(values):,} whole numbers in {len(first):,} rows are too many for classes"
            return as_floats, (), f"{found}, so they are numbers; with `task: classification` they are classes"
        names = class_names(_texts(values))
    return {name: _numbered(name, one, names, stored[name]) for name, one in targets.items()}, names, ""


def _are_classes(values: np.ndarray, rows: int) -> bool:
    """Whether whole numbers are classes: they are few, or count the classes, as `label` in a table."""
    counting = values[0] in (0, 1) and values[-1] - values[0] + 1 == len(values)
    return len(values) <= MAX_WHOLE_CLASSES or (counting and rows >= MIN_ROWS_PER_CLASS * len(values))


def _texts(values: np.ndarray) -> list[str]:
    """Returns classes as they are shown."""
    return [one.decode("utf-8", "backslashreplace") if isinstance(one, bytes) else str(one) for one in values.tolist()]


def _numbered(split: str, targets: np.ndarray, names: tuple[str, ...], stored: StoredArray) -> np.ndarray:
    """Returns the index of each target in the names, int32; -1, which is invalid, for one that is not among them."""
    if targets.dtype.kind not in "iuUS":
        stored.refuse(f"its dtype is {targets.dtype}, and the targets of training are whole numbers or words")
    values, positions = np.unique(targets, return_inverse=True)
    number_of = {name: number for number, name in enumerate(names)}
    numbers = np.array([number_of.get(text, -1) for text in _texts(values)], np.int32)[positions]
    numbers = numbers.reshape(targets.shape)
    if (numbers < 0).any() and not skips_invalid_examples():
        row = int(np.argmax((numbers < 0).reshape(len(targets), -1).any(axis=1)))
        label = _texts(targets[row : row + 1].reshape(-1))[0]
        stored.refuse(f"split `{split}`: the target of row {row} is `{label}`, which does not occur in training")
    return numbers
