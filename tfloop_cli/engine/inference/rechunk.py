"""Joins and splits rows to chunks of whole batches, and names them."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from tfloop_cli.engine.inference.inputs import objects
from tfloop_cli.engine.inference.rows import ReadRows


def rechunk(found: Iterable[ReadRows], size: int) -> Iterator[ReadRows]:
    """Yields the same rows, `size` at a time; fewer at the end, and before columns change their type."""
    waiting: ReadRows | None = None
    for rows in found:
        if waiting is not None and waiting.table.schema != rows.table.schema:
            yield waiting
            waiting = None
        waiting = rows if waiting is None else _joined(waiting, rows)
        start = 0
        while waiting.table.num_rows - start >= size:
            yield _slice(waiting, start, start + size)
            start += size
        waiting = _slice(waiting, start, waiting.table.num_rows)
    if waiting is not None and waiting.table.num_rows:
        yield waiting


def row_names(first: int, count: int, file: str = "") -> np.ndarray:
    """Returns the names of rows: their numbers, int64 [count], with the file where there are several."""
    numbers = np.arange(first, first + count)
    return objects([f"{file}:{number}" for number in numbers]) if file else numbers


def _joined(before: ReadRows, rows: ReadRows) -> ReadRows:
    shifted = {number + before.table.num_rows: error for number, error in rows.errors.items()}
    return ReadRows(pa.concat_tables([before.table, rows.table]), {**before.errors, **shifted}, rows.decimal)


def _slice(rows: ReadRows, start: int, stop: int) -> ReadRows:
    errors = {number - start: error for number, error in rows.errors.items() if start <= number < stop}
    return ReadRows(rows.table.slice(start, stop - start), errors, rows.decimal)
