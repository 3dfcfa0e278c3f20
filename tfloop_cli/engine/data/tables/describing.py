"""The rows of a table as they are in the file, for reports."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tfloop_cli.engine.data.tables.building import TableOptions, usable_rows
from tfloop_cli.engine.data.tables.encoders import TableEncoders
from tfloop_cli.engine.data.tables.preview import cell_text
from tfloop_cli.errors import TfloopError

MAX_BYTES = 64 * 2**20  # of the files that are read once more


def describe_rows(
    files: Mapping[str, Sequence[str]],
    options: TableOptions,
    encoders: TableEncoders,
    split: str,
    indices: np.ndarray,
) -> list[dict[str, Any]]:
    """Returns the cells of examples, {"row": {column: text}}; [] if they cannot be read once more at little cost.

    Args:
        files: name of a split -> its files.
        options: what the user has set.
        encoders: of the dataset.
        split: of the dataset.
        indices: in the split, int64.
    """
    if options.missing == "skip" or not is_cheap(names := files.get(split, ())):
        return []
    try:
        rows, targets, _ = usable_rows(split, names, options, encoders)
    except (TfloopError, OSError, pa.ArrowException):  # an invalid row was skipped, or the file has changed
        return []
    if len(targets) <= indices.max(initial=-1):
        return []
    found = rows.table.take(pa.array(indices)).to_pylist()
    return [{"row": {name: cell_text(value) for name, value in row.items()}} for row in found]


def is_cheap(names: Sequence[str]) -> bool:
    """Whether files can be read once more, and soon; a folder cannot."""
    try:
        return bool(names) and all(map(Path.is_file, map(Path, names))) and _bytes(names) <= MAX_BYTES
    except OSError:
        return False


def _bytes(names: Sequence[str]) -> int:
    return sum(Path(name).stat().st_size for name in names)
