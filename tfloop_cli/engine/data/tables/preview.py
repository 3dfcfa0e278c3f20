"""The first rows of a table as they are in its file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

from tfloop_cli.engine.data.tables.csv_reading import records, sample_of
from tfloop_cli.engine.data.tables.dialect import DialectOptions, detect
from tfloop_cli.engine.data.tables.excel_reading import read_excel
from tfloop_cli.engine.data.tables.files import STDIN, TableFile, find_files, find_splits
from tfloop_cli.engine.data.tables.json_reading import json_records, objects_of


def first_rows(
    names: Sequence[str], options: DialectOptions, targets: Sequence[str], count: int
) -> list[dict[str, str]]:
    """Returns the first rows of a file, name of a column -> its text; none of stdin, which was read before.

    Args:
        names: the files of a split; the first one is read, as far as needed.
        options: what the user has set.
        targets: names of the columns to predict.
        count: at most so many rows.
    """
    if STDIN in names:
        return []
    file = _first_file(names)
    try:
        return [{name: cell_text(value) for name, value in row.items()} for row in _rows(file, options, targets, count)]
    except (OSError, ValueError, pa.ArrowException):  # the file has changed since the data was read
        return []


def column_names(name: str) -> list[str]:
    """Returns the names of the columns of a file; [] if it has none, or none that can be read.

    Raises:
        TfloopError: there is no such file, or it is of another type (exit code 4).
    """
    file, options = _first_file([name]), DialectOptions()
    if file.kind != "csv":
        return list(next(iter(first_rows([name], options, (), 1)), {}))
    try:
        sample = sample_of(file)
        return list(detect(sample, file.name, options, ()).names) if sample.strip() else []
    except (OSError, ValueError, pa.ArrowException):
        return []


def _first_file(names: Sequence[str]) -> TableFile:
    return find_files([str(path) for path in find_splits(Path(names[0]))["train"]])[0]


def _rows(file: TableFile, options: DialectOptions, targets: Sequence[str], count: int) -> Iterable[Mapping[str, Any]]:
    if file.kind == "csv":
        dialect = detect(sample_of(file), file.name, options, targets)
        found = (cells for _, cells in records(file, dialect) if len(cells) == len(dialect.names))
        return [dict(zip(dialect.names, cells, strict=True)) for cells in islice(found, count)]
    if file.kind == "jsonl":
        return [cells for _, cells in islice(json_records(file, "", options), count)]
    if file.kind == "excel":
        table: list[dict[str, Any]] = read_excel(file).slice(0, count).to_pylist()
        return table
    with file.open() as stream:
        if file.kind == "json":
            return (objects_of(json.loads(stream.read())) or [])[:count]
        content = pa.BufferReader(stream.read()) if file.content or not stream.seekable() else stream
        if file.kind == "parquet":
            batch = next(pa.parquet.ParquetFile(content).iter_batches(batch_size=count), None)
            return [] if batch is None else batch.to_pylist()
        rows: list[dict[str, Any]] = pa.feather.read_table(content).slice(0, count).to_pylist()
        return rows


def cell_text(value: object) -> str:
    """Returns a value of a cell as text; a missing one is empty."""
    if isinstance(value, float):
        return f"{value:.10g}"
    return "" if value is None else str(value)
