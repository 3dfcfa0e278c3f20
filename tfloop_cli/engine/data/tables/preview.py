"""The first rows of a table as they are in its file."""

import glob
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from tfloop_cli.config.data_paths import STDIN
from tfloop_cli.engine.data.tables.arrow_files import batches_of, seekable
from tfloop_cli.engine.data.tables.csv_reading import records, sample_of
from tfloop_cli.engine.data.tables.dialect import DialectOptions, detect
from tfloop_cli.engine.data.tables.files import TableFile, find_files, find_splits
from tfloop_cli.engine.data.tables.json_reading import is_json_lines, json_records, table_of
from tfloop_cli.engine.data.tables.quotes import without_spaces_before_quotes
from tfloop_cli.engine.data.tables.vectors import flat
from tfloop_cli.engine.data.tables.whole_files import READERS, read_whole

_TRIED = 100  # rows that show the columns: lines of JSON may have different keys


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


def column_names(name: str, targets: Sequence[str] = ()) -> list[str]:
    """Returns the names of the columns of a file; [] if it has none, or none that can be read.

    `targets` are columns to predict: the line that has them is the header.

    Raises:
        TfloopError: there is no such file, or it is of another type (exit code 4).
    """
    file, options = _first_file([name]), DialectOptions()
    if file.kind != "csv":
        return list(dict.fromkeys(key for row in first_rows([name], options, targets, _TRIED) for key in row))
    try:
        sample = sample_of(without_spaces_before_quotes(file, sample_of(file), options))
        return list(detect(sample, file.name, options, targets).names) if sample.strip() else []
    except (OSError, ValueError, pa.ArrowException):
        return []


def has_images(name: str) -> bool:
    """Whether a .parquet file, or the training file in a folder, has a column with the bytes of images."""
    file = _first_file([name]) if not glob.has_magic(name) else None
    if file is None or file.kind != "parquet" or not file.is_plain:
        return False
    try:
        schema = pa.parquet.read_schema(file.path)
    except (OSError, pa.ArrowException):
        return False
    return any(pa.types.is_struct(one.type) and one.type.get_field_index("bytes") >= 0 for one in schema)


def _first_file(names: Sequence[str]) -> TableFile:
    return find_files([str(path) for path in find_splits(Path(names[0]))["train"]])[0]


def _rows(file: TableFile, options: DialectOptions, targets: Sequence[str], count: int) -> Iterable[Mapping[str, Any]]:
    if file.kind == "csv":
        file = without_spaces_before_quotes(file, sample_of(file), options)
        dialect = detect(sample_of(file), file.name, options, targets)
        found = (cells for _, cells in records(file, dialect) if len(cells) == len(dialect.names))
        return [dict(zip(dialect.names, cells, strict=True)) for cells in islice(found, count)]
    if file.kind == "jsonl" or (file.kind == "json" and is_json_lines(file, options)):
        return _rows_of(table_of([cells for _, cells in islice(json_records(file, "", options), count)]), count)
    if file.kind in READERS:
        return _rows_of(read_whole(file, options), count)
    if file.kind == "parquet":
        batch = next(pa.parquet.ParquetFile(seekable(file)).iter_batches(batch_size=count), None)
    else:
        batch = next(batches_of(file), None)
    return [] if batch is None else _rows_of(pa.Table.from_batches([batch]), count)


def _rows_of(table: pa.Table, count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = flat(table.slice(0, count)).to_pylist()
    return rows


def cell_text(value: object) -> str:
    """Returns a value of a cell as text; a missing one is empty."""
    if isinstance(value, float):
        return f"{value:.10g}"
    return "" if value is None else str(value)
