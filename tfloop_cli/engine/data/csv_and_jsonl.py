"""Reads rows of .csv, .tsv, .jsonl and .parquet files, and classes from labels; errors have file and line."""

import bz2
import codecs
import csv
import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pyarrow
import pyarrow.parquet

from tfloop_cli.config.suggestions import nearest
from tfloop_cli.engine.data.invalid_examples import require_valid_examples, skip_example
from tfloop_cli.errors import ExitCode, Problem, TfloopError, short_path

csv.field_size_limit(2**31 - 1)  # Python's default limit is 128 KiB
MAX_LINES_PER_ROW = 1000  # of a quoted cell with line breaks, so that an unclosed quote is found soon
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_OTHER_SEPARATORS = ";\t|"  # of a .csv file whose first line has no comma
_OPENERS = {".gz": gzip.open, ".bz2": bz2.open}
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True)
class Format:
    """How a file is written.

    Attributes:
        encoding: such as "latin-1"; "auto": UTF-8, or UTF-16 if the file begins with its byte order mark.
        quote: the quotation mark of a file of separated values, or "none"; "auto": " in .csv files, none in .tsv files.
        separator: the character between two cells; "auto": a comma in .csv files (;, tab or | if the first line has no
            comma), tab in .tsv files.
    """

    encoding: str = "auto"
    quote: str = "auto"
    separator: str = "auto"

    def check(self) -> None:
        """Raises TfloopError (exit code 2) if there is no such encoding, or a mark is no single character."""
        try:
            codecs.lookup("utf-8" if self.encoding == "auto" else self.encoding)
        except LookupError as error:
            raise TfloopError(f"`dataset.encoding`: {error}", hint="such as `latin-1` or `cp1252`") from error
        for key, value, words in (("quote", self.quote, ("auto", "none")), ("separator", self.separator, ("auto",))):
            if value not in words and len(value) != 1:
                raise TfloopError(f"`dataset.{key}` is `{value}`, not one character or {' or '.join(words)}")

    def to_utf8(self, data: bytes) -> tuple[bytes, str]:
        """Returns bytes and their encoding: as they are, or UTF-8 for encodings whose lines end in several bytes."""
        mark = next((mark for mark in _MARKS if data.startswith(mark)), b"")
        encoding = _MARKS.get(mark, "utf-8") if self.encoding == "auto" else self.encoding
        if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
            return data.decode(encoding).removeprefix("\ufeff").encode(), "utf-8"
        return data.removeprefix(codecs.BOM_UTF8), encoding

    def decode(self, data: bytes) -> str:
        """Returns bytes as text; raises UnicodeDecodeError."""
        data, encoding = self.to_utf8(data)
        return data.decode(encoding)


DEFAULT_FORMAT = Format()


@dataclass(frozen=True)
class Row:
    """One example of a file.

    Attributes:
        split: the split that the file contains.
        file: the path as messages show it.
        line: where the row begins, counted from 1; the number of the row in a .parquet file.
        cells: name of a column -> its text; a missing value is "".
    """

    split: str
    file: str
    line: int
    cells: dict[str, str]

    def cell(self, column: str) -> str:
        """Returns the text of a column, "" if it is missing; raises TfloopError if there is no such column."""
        if column not in self.cells:
            self.refuse(f"there is no column `{column}`", nearest(column, self.cells, "the columns are"))
        return self.cells[column]

    def refuse(self, problem: str, hint: str | None = None) -> NoReturn:
        """Raises TfloopError (exit code 4) at this row."""
        raise invalid_row(self.split, self.file, self.line, problem, hint)


def refuse(file: str, line: int | None, problem: str, hint: str | None = None) -> NoReturn:
    """Raises TfloopError (exit code 4) at a place in a data file."""
    raise TfloopError(problems=[Problem(problem, file, line, hint=hint)], code=ExitCode.DATA)


def invalid_row(split: str, file: str, line: int, problem: str, hint: str | None = None) -> TfloopError:
    """Returns the error for an invalid example of a split (exit code 4)."""
    return TfloopError(problems=[Problem(f"split `{split}`: {problem}", file, line, hint=hint)], code=ExitCode.DATA)


def wrong_byte(error: UnicodeDecodeError) -> tuple[str, str]:
    """Returns what is wrong with bytes that cannot be decoded, and a hint."""
    byte = error.object[error.start]
    problem = f"byte 0x{byte:02x} is not {'UTF-8' if error.encoding == 'utf-8' else error.encoding}"
    return problem, "save the file as UTF-8, or set the encoding, such as `dataset.encoding=latin-1`"


def read_rows(path: Path, split: str, file_format: Format = DEFAULT_FORMAT) -> Iterator[Row]:
    """Yields the rows of a file. A .csv or .tsv file begins with the column names; a .jsonl line is an object.

    The file may be compressed: .csv.gz, .csv.bz2. A single malformed row is an invalid example, see `invalid_examples`;
    the rows after it are read.

    Args:
        path: of the file.
        split: that the file contains.
        file_format: how it is written.

    Raises:
        TfloopError: the file is missing, of another type, or empty, or its first line is malformed (exit code 4).
    """
    file = short_path(path)
    compressed = path.suffix.lower() in _OPENERS
    kind = Path(path.stem).suffix.lower() if compressed else path.suffix.lower()
    known = (*_SEPARATORS, ".jsonl") if compressed else (*_SEPARATORS, ".jsonl", ".parquet")
    if kind not in known and path.exists():
        shown = "".join(path.suffixes[-2:]) if compressed else path.suffix
        refuse(file, None, f"`{shown}` files cannot be read", hint="supported: .csv, .tsv, .jsonl and .parquet")
    empty = True
    try:
        for row in _rows(path, file, kind, split, file_format):
            yield row
            empty = False
    except UnicodeDecodeError as error:
        refuse(file, None, *wrong_byte(error))
    except (OSError, EOFError, pyarrow.ArrowException) as error:
        refuse(file, None, f"it cannot be read: {getattr(error, 'strerror', None) or error}")
    if empty:
        require_valid_examples(split, 0)
        refuse(file, None, "it has no rows")


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Returns the distinct labels in order: by value if all are whole numbers, else alphabetically."""
    different = set(labels)
    try:
        return tuple(sorted(different, key=lambda label: (int(label), label)))
    except ValueError:
        return tuple(sorted(different))


def _rows(path: Path, file: str, kind: str, split: str, file_format: Format) -> Iterator[Row]:
    if kind == ".parquet":
        yield from _read_parquet(path, file, split)
        return
    with _OPENERS.get(path.suffix.lower(), open)(path, "rb") as stream:
        data, encoding = file_format.to_utf8(stream.read())
    lines = data.splitlines(keepends=True)
    if kind == ".jsonl":
        yield from _read_json(file, split, lines, encoding)
    else:
        yield from _read_separated(file, split, _Records(lines, encoding, kind, file_format))


class _Records:
    """The records of a file of separated values.

    Args:
        lines: of the file.
        encoding: of the lines.
        kind: ".csv" or ".tsv".
        file_format: see `read_rows`.
    """

    def __init__(self, lines: list[bytes], encoding: str, kind: str, file_format: Format) -> None:
        self._lines, self._encoding = lines, encoding
        self._separator = file_format.separator
        if file_format.separator == "auto":
            first = lines[0].decode(encoding, "replace") if lines else ""
            self._separator = _SEPARATORS[kind]
            if kind == ".csv" and "," not in first:
                self._separator = (
                    max(_OTHER_SEPARATORS, key=first.count) if set(_OTHER_SEPARATORS) & set(first) else ","
                )
        quote = {"auto": '"' if kind == ".csv" else "", "none": ""}.get(file_format.quote, file_format.quote)
        self._quote = quote or None

    def __iter__(self) -> Iterator[tuple[int, list[str] | tuple[str, str]]]:
        """Yields the line where each record begins, counted from 1, and its cells, or what is wrong and a hint.

        A malformed record is one line: what follows it is read.
        """
        first = 0
        while first < len(self._lines):
            cells, lines = self._record(first)
            if cells:
                yield first + 1, cells
            first += lines

    def _record(self, first: int) -> tuple[list[str] | tuple[str, str], int]:
        """Returns the cells of a record, or what is wrong with it, and the number of its lines."""
        try:
            text = self._lines[first].decode(self._encoding)
            if self._quote is None or self._quote not in text:
                text = text.rstrip("\r\n")
                return (text.split(self._separator) if text else []), 1
            lines = (one.decode(self._encoding) for one in self._lines[first : first + MAX_LINES_PER_ROW])
            reader = csv.reader(lines, delimiter=self._separator, quotechar=self._quote, strict=True)
            return next(reader), reader.line_num
        except UnicodeDecodeError as error:
            return wrong_byte(error), 1
        except csv.Error as error:
            return (f"this row cannot be read: {error}", "check for an unclosed quote, or set `dataset.quote=none`"), 1


def _read_separated(file: str, split: str, records: _Records) -> Iterator[Row]:
    names: list[str] | None = None
    for line, cells in records:
        if names is None:
            if isinstance(cells, tuple):
                refuse(file, line, *cells)
            names = cells
            _check_names(file, line, names)
        elif isinstance(cells, tuple):
            skip_example(split, invalid_row(split, file, line, *cells))
        elif len(cells) == len(names):
            yield Row(split, file, line, dict(zip(names, cells, strict=True)))
        else:
            problem = f"the row has {len(cells)} cell(s), and the header has {len(names)} columns"
            skip_example(split, invalid_row(split, file, line, problem))


def _check_names(file: str, line: int, names: list[str]) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        refuse(
            file, line, f"two columns are called `{twice[0]}`", hint="the first line must contain distinct column names"
        )


def _read_json(file: str, split: str, lines: list[bytes], encoding: str) -> Iterator[Row]:
    for line, data in enumerate(lines, start=1):
        try:
            text = data.decode(encoding)
            cells = _cells(split, file, line, text) if text.strip() else None
        except UnicodeDecodeError as error:
            skip_example(split, invalid_row(split, file, line, *wrong_byte(error)))
        except TfloopError as error:
            skip_example(split, error)
        else:
            if cells is not None:
                yield Row(split, file, line, cells)


def _cells(split: str, file: str, line: int, text: str) -> dict[str, str]:
    """Returns a line of JSON as the cells of a row."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid_row(split, file, line, f"this line is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise invalid_row(split, file, line, "this line is not a JSON object", 'write {"text": "...", "label": "..."}')
    for name, value in values.items():
        if isinstance(value, list | dict):
            raise invalid_row(split, file, line, f"column `{name}` is a {type(value).__name__}, not text or a number")
    return {name: _text(value) for name, value in values.items()}


def _read_parquet(path: Path, file: str, split: str) -> Iterator[Row]:
    with pyarrow.parquet.ParquetFile(path) as table:
        names = [one.name for one in table.schema_arrow if not pyarrow.types.is_nested(one.type)]
        line = 0
        for batch in table.iter_batches(columns=names):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                line += 1
                yield Row(split, file, line, {name: _text(one) for name, one in zip(names, values, strict=True)})


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return value if isinstance(value, str) else str(value)
