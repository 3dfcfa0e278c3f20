"""Reads the rows of table files in chunks, without the column to predict, and keeps rows that cannot be read.

pyarrow reads regular files. If a cell is not what its column was in training, or a row has too few cells, Python's csv
module reads the rest of the file, row by row, so that only that row is an error.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.json as arrow_json
import pyarrow.parquet as arrow_parquet

from tfloop_cli.engine.data.problems import refuse
from tfloop_cli.engine.data.tables.arrow_files import batches_of, seekable
from tfloop_cli.engine.data.tables.csv_reading import (
    null_texts,
    records,
    refuse_doubtful,
    refuse_repeated,
    sample_of,
    without_lone_returns,
)
from tfloop_cli.engine.data.tables.dialect import Dialect, DialectOptions, detect
from tfloop_cli.engine.data.tables.encodings import single_byte_encoding
from tfloop_cli.engine.data.tables.files import TableFile
from tfloop_cli.engine.data.tables.json_reading import is_json_lines, table_of, to_utf8
from tfloop_cli.engine.data.tables.marks import with_points
from tfloop_cli.engine.data.tables.quotes import without_spaces_before_quotes
from tfloop_cli.engine.data.tables.vectors import flat_as
from tfloop_cli.engine.data.tables.whole_files import read_whole

CSV_BLOCK = 4 * 2**20  # bytes that are parsed at once
JSON_BLOCK = 8 * 2**20
ROWS = 2**16  # of a batch of other files
SLOW_ROWS = 4096  # of rows that Python's csv module reads


@dataclass(frozen=True)
class ReadRows:
    """Some rows of a file.

    Attributes:
        table: of all rows; a row that cannot be read is null.
        errors: number of a row in the table -> why it cannot be used.
        decimal: the decimal mark of the file.
    """

    table: pa.Table
    errors: Mapping[int, str] = field(default_factory=dict)
    decimal: str = "."


@dataclass(frozen=True)
class RowReader:
    """Reads the rows of files like those that a run was trained on.

    Args:
        options: what the user has set for the training file.
        trained: `Dialect.facts` of the training file.
        targets: the columns to predict, which a file may lack.
        columns: of the training file but the targets, in order; () if they are not known.
        as_text: the columns that are read as text.
        numbers: the columns that are read as numbers.
        wanted: the columns that are needed.
        missing_values: see `TableEncoders`.
    """

    options: DialectOptions
    trained: Mapping[str, Any] | None
    targets: Sequence[str]
    columns: Sequence[str]
    as_text: Sequence[str]
    numbers: Sequence[str]
    wanted: Sequence[str]
    missing_values: Sequence[str] = ()

    def read(self, file: TableFile) -> Iterator[ReadRows]:
        """Yields the rows of a file, in order.

        Raises:
            TfloopError: the file cannot be read, or lacks a column (exit code 4).
        """
        readers = {"csv": self._csv, "jsonl": self._json_lines}
        try:
            is_lines = file.kind == "json" and is_json_lines(file, self.options)
            found = readers.get("jsonl" if is_lines else file.kind, self._typed)(file)
            known: set[str] = set()
            for rows in found:
                known.update(rows.table.column_names)
                yield self._complete(rows, file, known)
        except UnicodeError as error:
            refuse(file.name, None, f"it cannot be decoded: {error}", self.options.hint("encoding"))
        except (OSError, pa.ArrowException, csv.Error) as error:
            refuse(file.name, None, f"it cannot be read: {getattr(error, 'strerror', None) or error}")

    def _complete(self, rows: ReadRows, file: TableFile, known: set[str]) -> ReadRows:
        """Returns the rows with the columns that are needed; lines of JSON may lack keys that other lines have."""
        if lacking := [name for name in self.wanted if name not in known]:
            listed = ", ".join(f"`{name}`" for name in lacking)
            have = ", ".join(f"`{name}`" for name in rows.table.column_names[:50])
            why = "the run needs" if set(lacking) & set(self.columns) else "`--keep` names"
            refuse(file.name, None, f"there {_are(lacking)} {listed}, which {why}", f"the columns are {have}")
        table, present = rows.table, set(rows.table.column_names)
        for name in self.wanted:
            if name not in present:
                table = table.append_column(name, pa.nulls(table.num_rows))
        return ReadRows(table.select(list(dict.fromkeys(self.wanted))), rows.errors, rows.decimal)

    def _typed(self, file: TableFile) -> Iterator[ReadRows]:
        """Yields the rows of files whose columns have types."""
        for table in self._tables(file):
            yield ReadRows(*flat_as(table, self.columns, self.wanted))

    def _tables(self, file: TableFile) -> Iterator[pa.Table]:
        if file.kind == "parquet":
            with arrow_parquet.ParquetFile(seekable(file)) as content:
                nested = any(pa.types.is_nested(one.type) for one in content.schema_arrow)
                columns = None if nested else [one for one in content.schema_arrow.names if one in self.wanted]
                for batch in content.iter_batches(batch_size=ROWS, columns=columns):
                    yield pa.Table.from_batches([batch])
        elif file.kind == "feather":
            yield from (pa.Table.from_batches([batch]) for batch in batches_of(file))
        else:
            table = read_whole(file, self.options)
            yield from (table.slice(start, ROWS) for start in range(0, table.num_rows, ROWS))

    def _csv(self, file: TableFile) -> Iterator[ReadRows]:
        file = without_spaces_before_quotes(file, sample_of(file), self.options)
        dialect = self._dialect(file)
        done = 0
        if dialect.is_plain:
            try:
                for table in self._arrow_csv(file, dialect):
                    yield ReadRows(with_points(table, dialect.marks.commas), decimal=dialect.decimal)
                    done += table.num_rows
                return
            except (pa.ArrowInvalid, UnicodeError):  # some row is not as the others
                file = without_lone_returns(file, dialect) or file
        yield from self._python_csv(file, dialect, done)

    def _dialect(self, file: TableFile) -> Dialect:
        sample, options, known = sample_of(file), self.options, [*self.targets, *self.wanted]
        first = sample.partition(b"\n")[0].strip().strip(b'"').decode("utf-8", "replace").removeprefix("\ufeff")
        if options.separator == "auto" and first in known:  # the only column: what is in its cells separates nothing
            options = replace(options, separator=",")
        dialect = detect(sample, file.name, options, known, self.trained)
        refuse_doubtful(file, sample, dialect, options)
        if not dialect.names:
            refuse(file.name, None, "it has no rows")
        if not dialect.has_header and len(dialect.names) == len(self.columns):  # the columns before the target moved
            dialect = replace(dialect, names=tuple(self.columns))
        refuse_repeated(file, [name for name in dialect.repeated if f"{name}.1" not in self.columns], self.wanted)
        return dialect

    def _arrow_csv(self, file: TableFile, dialect: Dialect) -> Iterator[pa.Table]:
        numbers = set(self.numbers) - dialect.marks.commas
        texts = {*self.as_text, *dialect.codes, *dialect.marks.commas} - numbers
        types = dict.fromkeys(numbers, pa.float64()) | dict.fromkeys(texts, pa.string())
        wanted = [name for name in dialect.names if name in self.wanted]
        if len(set(self.wanted)) > len(wanted):
            yield pa.table({name: pa.array([], pa.string()) for name in dialect.names})  # the error names them all
        stream = arrow_csv.open_csv(
            file.open(),
            arrow_csv.ReadOptions(
                column_names=list(dialect.names), skip_rows_after_names=dialect.skipped_lines,
                encoding=dialect.encoding, block_size=CSV_BLOCK,
            ),
            arrow_csv.ParseOptions(
                delimiter=dialect.separator, quote_char=dialect.quote or False, newlines_in_values=True
            ),
            arrow_csv.ConvertOptions(
                column_types={name: kind for name, kind in types.items() if name in dialect.names},
                null_values=null_texts(self.missing_values), strings_can_be_null=False, true_values=[],
                false_values=[], decimal_point=dialect.decimal, include_columns=wanted,
            ),
        )  # fmt: skip
        for batch in stream:
            yield pa.Table.from_batches([batch])

    def _python_csv(self, file: TableFile, dialect: Dialect, skipped: int) -> Iterator[ReadRows]:
        """Yields the rows after the first `skipped` ones, all as text."""
        cells = len(dialect.names)
        found = islice((row for _, row in records(file, dialect, errors="surrogateescape")), skipped, None)
        while rows := [self._decoded(row) for row in islice(found, SLOW_ROWS)]:
            errors = {}
            for number, row in enumerate(rows):
                if len(row) != cells:
                    errors[number] = f"the row has {len(row)} cell(s), and the file has {cells} columns"
                elif not all(map(_is_text, row)):
                    errors[number] = f"its text is not {dialect.encoding}"
            kept = [[None] * cells if number in errors else row for number, row in enumerate(rows)]
            columns = [pa.array(column, pa.string()) for column in zip(*kept, strict=True)]
            table = with_points(pa.table(columns, list(dialect.names)), dialect.marks.commas)
            yield ReadRows(table, errors, dialect.decimal)

    def _decoded(self, row: list[str]) -> list[str]:
        """Returns a row as training reads a file that is not UTF-8, which its beginning may not show."""
        if not self.options.guesses_encoding or all(map(_is_text, row)):
            return row
        content = [cell.encode("utf-8", "surrogateescape") for cell in row]
        return [cell.decode(single_byte_encoding(b"".join(content))) for cell in content]

    def _json_lines(self, file: TableFile) -> Iterator[ReadRows]:
        with file.open() as stream:
            for block in _blocks(stream):
                yield self._json_block(to_utf8(block, self.options.encoding))

    def _json_block(self, block: bytes) -> ReadRows:
        try:
            read = arrow_json.ReadOptions(block_size=max(len(block), 1))
            table = arrow_json.read_json(pa.py_buffer(block), read_options=read)
            table.validate(full=True)
            dates = self.options.free_text and any(pa.types.is_timestamp(one.type) for one in table.schema)
            if not dates and table.num_rows == sum(1 for line in block.split(b"\n") if line.strip()):
                return ReadRows(*flat_as(table, self.columns, self.wanted))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # each key must have one type
            pass
        return rows_of((parsed(line) for line in block.split(b"\n") if line.strip()), self.columns, self.wanted)


def parsed(line: bytes) -> Mapping[str, Any] | str:
    """Returns the object in a line of JSON, or what is wrong with the line."""
    try:
        cells = json.loads(line.decode())
    except UnicodeDecodeError:
        return "this line is not UTF-8"
    except (ValueError, RecursionError) as error:
        return f"this line is not JSON: {error}"
    return cells if isinstance(cells, dict) else "this line is not a JSON object"


def rows_of(
    found: Iterable[Mapping[str, Any] | str], trained: Sequence[str] = (), whole: Sequence[str] = ()
) -> ReadRows:
    """Returns objects as rows; a text is the error of a row. `trained`, `whole`: see `flat_as`."""
    rows = list(found)
    errors = {number: row for number, row in enumerate(rows) if isinstance(row, str)}
    table = table_of([{} if isinstance(row, str) else row for row in rows])
    if not table.num_columns:
        return ReadRows(pa.table({"": pa.nulls(len(rows))}), errors)
    table, wrong = flat_as(table, trained, whole)
    return ReadRows(table, wrong | errors)


def _blocks(stream: pa.NativeFile) -> Iterator[bytes]:
    """Yields the content of a stream, split at the ends of lines."""
    rest = b""
    while data := stream.read(JSON_BLOCK):
        whole, newline, rest = (rest + data).rpartition(b"\n")
        if newline:
            yield whole
        else:
            whole, rest = b"", rest
    if rest.strip():
        yield rest


def _is_text(cell: str) -> bool:
    """Whether all bytes of a cell were in the encoding."""
    return cell.isascii() or not any("\udc80" <= character <= "\udcff" for character in cell)


def _are(names: Sequence[str]) -> str:
    return "is no column" if len(names) == 1 else "are no columns"
