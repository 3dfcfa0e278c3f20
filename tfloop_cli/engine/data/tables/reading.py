"""Reads the files of one split into one table of pyarrow."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

from tfloop_cli.engine.data.csv_and_jsonl import refuse
from tfloop_cli.engine.data.invalid_examples import require_valid_examples
from tfloop_cli.engine.data.tables.csv_reading import CsvReader, line_of
from tfloop_cli.engine.data.tables.dialect import Dialect
from tfloop_cli.engine.data.tables.excel_reading import excel_notes, read_excel
from tfloop_cli.engine.data.tables.files import TableFile, find_files
from tfloop_cli.engine.data.tables.json_reading import json_records, read_json_array, read_json_lines


@dataclass(frozen=True)
class Part:
    """The rows of one file.

    Attributes:
        file: where they come from.
        rows: their number.
        dialect: how the file is written; None if it is no file of separated values.
    """

    file: TableFile
    rows: int
    dialect: Dialect | None = None


@dataclass(frozen=True)
class Rows:
    """The rows of a split.

    Attributes:
        split: its name.
        table: all valid rows.
        parts: the files in order.
        numbers: of the rows among those of the files, if some are left out; int64 [rows].
    """

    split: str
    table: pa.Table
    parts: tuple[Part, ...]
    numbers: np.ndarray | None = None

    @property
    def notes(self) -> list[str]:
        """What was detected about the files that is not usual."""
        found = []
        for part in self.parts:
            if part.file.kind == "excel":
                found += excel_notes(part.file)
            if part.dialect and part.dialect.encoding in ("cp1252", "latin-1"):
                found.append(f"{part.file.name}: not UTF-8, read as {part.dialect.encoding} (key `encoding`)")
            if part.dialect and not part.dialect.has_header:
                names = f"{part.dialect.names[0]} to {part.dialect.names[-1]}"
                found.append(f"{part.file.name}: no header, the columns are {names} (key `header`)")
            if part.dialect and part.dialect.decimal == ",":
                found.append(f"{part.file.name}: numbers have a decimal comma (key `decimal`)")
        return found

    @property
    def positions(self) -> np.ndarray:
        """The number of each row in its file, counted from 0: int64 [rows]."""
        positions = np.concatenate([np.arange(part.rows) for part in self.parts])
        return positions if self.numbers is None else positions[self.numbers]

    def subset(self, kept: np.ndarray) -> "Rows":
        """Returns the rows that `kept`, bool [rows], marks."""
        numbers = np.arange(len(kept)) if self.numbers is None else self.numbers
        return replace(self, table=self.table.filter(pa.array(kept)), numbers=numbers[kept])

    def place(self, row: int) -> tuple[str, int | None]:
        """Returns the file of a row, counted from 0, and its line.

        In .json, .parquet and .feather it is the number of the row.
        """
        row = row if self.numbers is None else int(self.numbers[row])
        for part in self.parts:
            if row < part.rows:
                break
            row -= part.rows
        if part.dialect is not None:
            return part.file.name, line_of(part.file, part.dialect, row)
        if part.file.kind == "jsonl":
            lines = (line for line, _ in json_records(part.file))
            return part.file.name, next((line for number, line in enumerate(lines) if number == row), None)
        return part.file.name, row + (2 if part.file.kind == "excel" else 1)


def read_rows(names: str | Sequence[str], reader: CsvReader) -> Rows:
    """Reads all files of a split: .csv, .tsv, .txt, .json, .jsonl, .parquet, .feather and .xlsx, also compressed.

    Args:
        names: one or several paths or patterns, or "-" for stdin.
        reader: reads files of separated values.

    Raises:
        TfloopError: a file is missing, of another type, malformed or empty (exit code 4); see `CsvReader`.
    """
    tables, parts = [], []
    for file in find_files(names):
        table, dialect = _read(file, reader)
        if tables and (lacking := [name for name in reader.targets if name not in table.column_names]):
            refuse(file.name, None, f"there is no column `{lacking[0]}`, as in {parts[0].file.name}")
        tables.append(table)
        parts.append(Part(file, table.num_rows, dialect))
    table = _concatenated(tables)
    if not table.num_rows:
        require_valid_examples(reader.split, 0)
        refuse(parts[0].file.name, None, "it has no rows")
    return Rows(reader.split, table, tuple(parts))


def _read(file: TableFile, reader: CsvReader) -> tuple[pa.Table, Dialect | None]:
    if file.kind == "csv":
        return reader.read(file)
    readers: dict[str, Callable[[TableFile], pa.Table]] = {
        "json": read_json_array,
        "jsonl": lambda one: read_json_lines(one, reader.split),
        "parquet": lambda one: pa.parquet.read_table(_seekable(one)),
        "feather": lambda one: pa.feather.read_table(_seekable(one)),
        "excel": read_excel,
    }
    try:
        table = _flat(readers[file.kind](file))
        if twice := [name for name, count in Counter(table.column_names).items() if count > 1]:
            refuse(file.name, None, f"two columns are called `{twice[0]}`")
        return table, None
    except (OSError, pa.ArrowException) as error:
        refuse(file.name, None, f"it cannot be read: {getattr(error, 'strerror', None) or error}")


def _seekable(file: TableFile) -> pa.NativeFile:
    compressed = file.content is not None or not file.name.lower().endswith((".parquet", ".feather", ".arrow"))
    return pa.BufferReader(file.open().read()) if compressed else pa.memory_map(str(file.path))


def _flat(table: pa.Table) -> pa.Table:
    """Returns a table without nested objects: the keys of `a` are the columns `a.b` and `a.c`."""
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return table


def _concatenated(tables: list[pa.Table]) -> pa.Table:
    """Returns all rows; a column that has another type in some file becomes text, unless both are numbers."""
    if len(tables) == 1:
        return tables[0]
    names = dict.fromkeys(name for table in tables for name in table.column_names)
    columns = {}
    for name in names:
        chunks = [table.column(name) if name in table.column_names else pa.nulls(len(table)) for table in tables]
        types = {chunk.type for chunk in chunks if not pa.types.is_null(chunk.type)}
        if len(types) > 1:
            numeric = all(pa.types.is_integer(one) or pa.types.is_floating(one) for one in types)
            types = {pa.float64() if numeric else pa.string()}
        type_ = next(iter(types), pa.null())
        arrays = [chunk.cast(type_) for chunk in chunks]
        columns[name] = pa.chunked_array([piece for one in arrays for piece in getattr(one, "chunks", [one])], type_)
    return pa.table(columns)
