"""Reads the files of one split into one table of pyarrow."""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from tfloop_cli.engine.data.invalid_examples import require_valid_examples
from tfloop_cli.engine.data.problems import refuse
from tfloop_cli.engine.data.tables.arrow_files import read_arrow, seekable
from tfloop_cli.engine.data.tables.class_labels import with_class_names
from tfloop_cli.engine.data.tables.column_names import repeated
from tfloop_cli.engine.data.tables.csv_reading import CsvReader, Lines, refuse_repeated
from tfloop_cli.engine.data.tables.dialect import Dialect, DialectOptions
from tfloop_cli.engine.data.tables.encodings import SINGLE_BYTE
from tfloop_cli.engine.data.tables.excel_reading import ABOVE, HEADER, MERGED, NOTES, excel_notes
from tfloop_cli.engine.data.tables.files import TableFile, find_files
from tfloop_cli.engine.data.tables.json_reading import is_json_lines, read_json_lines
from tfloop_cli.engine.data.tables.separators import UNCOMMON
from tfloop_cli.engine.data.tables.surroundings import total_row
from tfloop_cli.engine.data.tables.vectors import flat
from tfloop_cli.engine.data.tables.whole_files import READERS, read_whole
from tfloop_cli.errors import ExitCode, Problem, TfloopError

_SHOWN = 5  # columns that notes name


@dataclass(frozen=True)
class Part:
    """The rows of one file.

    Attributes:
        file: where they come from.
        rows: their number.
        dialect: how the file is written; None if it is no file of separated values.
        lines: returns the line of each row; None for the number of the row (.json, .parquet, .feather).
        header_notes: about the lines above its first row.
        total: the word in its last row that makes it a total, which is left out; "" if there is none.
        repeated: names that several columns have in the file; see `distinct`.
        merged: cells of a workbook that span several rows, each of which has their value.
        named: targets whose numbers are replaced by the names of classes.
    """

    file: TableFile
    rows: int
    dialect: Dialect | None = None
    lines: Lines | None = None
    header_notes: tuple[str, ...] = ()
    total: str = ""
    repeated: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    merged: int = 0


@dataclass(frozen=True)
class Rows:
    """The rows of a split.

    Attributes:
        split: its name.
        table: all valid rows.
        parts: the files in order.
        numbers: of the rows among those of the files, if some are left out; int64 [rows].
        options: what the user has set about the files.
        absent: name of a column -> the number of files that do not have it; its values are missing there.
    """

    split: str
    table: pa.Table
    parts: tuple[Part, ...]
    numbers: np.ndarray | None = None
    options: DialectOptions = field(default_factory=DialectOptions)
    absent: Mapping[str, int] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What was detected about the files that is not usual."""
        notes = [note for part in self.parts if part.file.kind == "excel" for note in excel_notes(part.file)]
        found = []
        for part in self.parts:
            if part.dialect and part.dialect.encoding in SINGLE_BYTE:
                found.append((part, f"not UTF-8, read as {part.dialect.encoding}", "encoding"))
            found += [(part, note, "header") for note in part.header_notes]
            if part.dialect and part.dialect.separator in UNCOMMON and self.options.separator == "auto":
                found.append((part, f"cells are separated by {part.dialect.separator!r}", "separator"))
            if part.dialect and not part.dialect.has_header:
                names = f"{part.dialect.names[0]} to {part.dialect.names[-1]}"
                found.append((part, f"no header, the columns are {names}", "header"))
            if part.dialect and part.dialect.decimal == "," and not self.options.free_text:
                found.append((part, "numbers have a decimal comma", "decimal"))
            if part.dialect and part.dialect.marks.commas:
                names = f"in {listing(sorted(part.dialect.marks.commas))}, and a decimal point elsewhere"
                found.append((part, f"numbers have a decimal comma {names}", "decimal"))
            if part.total:
                found.append((part, f"the last line, `{part.total}`, is no row", "header"))
        named = dict.fromkeys(name for part in self.parts for name in part.named)
        notes += [f"classes of `{name}` have the names in Hugging Face's description" for name in named]
        notes += [f"{part.file.name}: {part.merged:,} cell(s) span several rows" for part in self.parts if part.merged]
        keys = self.options.are_keys
        notes += [
            f"{part.file.name}: several columns are called `{name}`; all but the first have a number, as in `{name}.1`"
            for part in self.parts
            for name in part.repeated
        ]
        for name, number in list(self.absent.items())[:_SHOWN]:
            notes.append(f"column `{name}` is not in {number} of {len(self.parts)} files: its values are missing there")
        if (more := len(self.absent) - _SHOWN) > 0:
            notes.append(f"{more:,} more columns are not in all files")
        return notes + [f"{part.file.name}: {note}{f' (key `{key}`)' if keys else ''}" for part, note, key in found]

    @property
    def positions(self) -> np.ndarray:
        """The number of each row in its file, counted from 0: int64 [rows]."""
        positions = np.concatenate([np.arange(part.rows) for part in self.parts])
        return positions if self.numbers is None else positions[self.numbers]

    def subset(self, kept: np.ndarray) -> "Rows":
        """Returns the rows that `kept`, bool [rows], marks."""
        numbers = np.arange(len(kept)) if self.numbers is None else self.numbers
        return replace(self, table=self.table.filter(pa.array(kept)), numbers=numbers[kept])

    def first(self, counts: Sequence[int]) -> "Rows":
        """Returns the first rows of each file, of all that it has."""
        parts = tuple(replace(part, rows=count) for part, count in zip(self.parts, counts, strict=True))
        starts = np.cumsum([0, *(part.rows for part in self.parts)])
        pieces = [self.table.slice(start, count) for start, count in zip(starts.tolist(), counts, strict=False)]
        return replace(self, table=pa.concat_tables(pieces), parts=parts)

    def without_table(self) -> "Rows":
        """Returns what `place` needs, without the values."""
        return replace(self, table=pa.table({}))

    def place(self, row: int) -> tuple[str, int | None]:
        """Returns the file of a row, counted from 0, and its line.

        In .json, .parquet and .feather it is the number of the row.
        """
        row = row if self.numbers is None else int(self.numbers[row])
        for part in self.parts:
            if row < part.rows:
                break
            row -= part.rows
        return part.file.name, next(islice(part.lines(), row, None), None) if part.lines else row + 1

    def require(self, names: Iterable[str], prefix: str = "", hint: str = "") -> None:
        """Raises TfloopError (exit code 4) unless there are columns with these names; `hint` is added to its hint."""
        known = self.table.column_names
        for name in names:
            if name in known:
                continue
            close = difflib.get_close_matches(name, known, n=1)
            folded = [other for other in known if other.strip().casefold() == name.strip().casefold()]
            guess = (folded or close or [""])[0]
            listed = f"the columns are {listing(known[:50])}" + (
                f" and {len(known) - 50} more" if len(known) > 50 else ""
            )
            dialect = self.parts[0].dialect
            if dialect and not dialect.has_header:
                listed += "; the file seems to have no header" + (" (key `header`)" if self.options.are_keys else "")
            elif dialect and len(known) == 1 and name in known[0]:  # x~y
                key = " (key `separator`)" if self.options.are_keys else ""
                guess, listed = "", f"{listed}; which character separates several columns?{key}"
            found = f"did you mean `{guess}`?" if guess else listed
            self.refuse(f"{prefix}there is no column `{name}`", f"{found}; {hint}" if hint else found)

    def refuse(self, problem: str, hint: str | None = None) -> NoReturn:
        """Raises TfloopError (exit code 4) about the first file."""
        place = Problem(f"split `{self.split}`: {problem}", self.parts[0].file.name, None, hint=hint)
        raise TfloopError(problems=[place], code=ExitCode.DATA)


def listing(names: Iterable[str]) -> str:
    """Returns names for a message."""
    return ", ".join(f"`{name}`" for name in names)


def read_rows(paths: str | Sequence[str], reader: CsvReader) -> Rows:
    """Reads all files of a split, of any kind of `TABLE_KINDS`, also compressed.

    Args:
        paths: one or several paths or patterns, or "-" for stdin.
        reader: reads files of separated values.

    Raises:
        TfloopError: a file is missing, of another type, malformed or empty (exit code 4); see `CsvReader`.
    """
    return read_files(find_files(paths), reader)


def read_files(files: Sequence[TableFile], reader: CsvReader) -> Rows:
    """Reads all files of a split; see `read_rows`."""
    tables, parts = [], []
    for file in files:
        table, dialect, lines, twice = _read(file, reader)
        if tables and (lacking := _lacking(table, tables[0], reader.targets)):
            refuse(file.name, None, f"there is no column `{lacking[0]}`, as in {parts[0].file.name}")
        table, named = with_class_names(table, file, reader.targets if reader.names_classes else ())
        total = _total_row(file, table, dialect, reader.options)
        tables.append(table.slice(0, table.num_rows - bool(total)))
        notes = _header_notes(table, dialect)
        merged = _metadata(table, MERGED)
        parts.append(Part(file, tables[-1].num_rows, dialect, lines, notes, total, twice, named, merged))
    having = Counter(name for table in tables for name in table.column_names)
    absent = {name: len(tables) - files for name, files in having.items() if files < len(tables)}
    table = _concatenated(tables)
    if not table.num_rows:
        require_valid_examples(reader.split, 0)
        refuse(parts[0].file.name, None, "it has no rows")
    return Rows(reader.split, table, tuple(parts), options=reader.options, absent=absent)


def _total_row(file: TableFile, table: pa.Table, dialect: Dialect | None, options: DialectOptions) -> str:
    """Returns the word in the last row of a file that makes it a total, see `total_row`; "" if it is a row."""
    if file.kind not in ("csv", "excel") or options.free_text or options.header == "first_line":
        return ""
    return total_row(table, dialect.decimal if dialect else ".") or ""


def _lacking(table: pa.Table, first: pa.Table, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in first.column_names and name not in table.column_names]


def _read(file: TableFile, reader: CsvReader) -> tuple[pa.Table, Dialect | None, Lines | None, tuple[str, ...]]:
    """Returns the rows of a file, its dialect, the lines of the rows, and the names that several columns have."""
    if file.kind == "csv":
        table, dialect, rows = reader.read(file)
        return table, dialect, rows, dialect.repeated
    try:
        table, lines = _read_typed(file, reader)
        twice = repeated(table.column_names)
        refuse_repeated(file, twice, reader.targets)
        return flat(table), None, lines, twice
    except UnicodeError as error:
        refuse(file.name, None, f"it cannot be decoded: {error}", reader.options.hint("encoding"))
    except (OSError, pa.ArrowException) as error:
        refuse(file.name, None, f"it cannot be read: {getattr(error, 'strerror', None) or error}")


def _read_typed(file: TableFile, reader: CsvReader) -> tuple[pa.Table, Lines | None]:
    """Reads a file whose columns have types; also returns the lines of the rows, None for their numbers."""
    if file.kind == "jsonl" or (file.kind == "json" and is_json_lines(file, reader.options)):
        return read_json_lines(file, reader.split, reader.options)
    if file.kind in READERS:
        table = read_whole(file, reader.options)
        first = 1 + _metadata(table, ABOVE) + _metadata(table, HEADER)
        return table, (lambda: count(first)) if file.kind == "excel" else None
    if file.kind == "parquet":
        return pa.parquet.read_table(seekable(file)), None
    return read_arrow(file), None


def _metadata(table: pa.Table, key: str) -> int:
    """Returns a number about a sheet, see `read_excel`; 0 for other tables."""
    return int((table.schema.metadata or {}).get(key.encode(), 0))


def _header_notes(table: pa.Table, dialect: Dialect | None) -> tuple[str, ...]:
    """Returns what is not usual about the lines above the first row."""
    if dialect:
        above, notes = 0 if dialect.is_arff else dialect.preamble, dialect.header.notes
    else:
        above = _metadata(table, ABOVE)
        notes = (table.schema.metadata or {}).get(NOTES.encode(), b"").decode().splitlines()
    return (*notes, *([f"{above} line(s) above the table are not read"] if above else []))


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
