"""Reads files of separated values with pyarrow, and finds the line of a row."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv

from tfloop_cli.engine.data.csv_and_jsonl import invalid_row, refuse
from tfloop_cli.engine.data.invalid_examples import skip_example
from tfloop_cli.engine.data.tables.dialect import (
    SAMPLE_BYTES,
    SAMPLE_LINES,
    Dialect,
    DialectOptions,
    detect,
    single_byte_encoding,
    squeeze,
)
from tfloop_cli.engine.data.tables.files import TableFile

MAX_DICTIONARY = 50_000  # distinct texts per block; a column with more is read as plain text
WORDS = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class CsvReader:
    """Reads the files of one split.

    Args:
        split: its name, for messages.
        options: what the user has set.
        targets: names of the columns to predict.
        as_text: names of columns that are read as text even if all their values are numbers.
        nulls: texts that are missing values in a column of numbers.
        trained: `Dialect.facts` of the training file; None if this is the training file.
    """

    split: str
    options: DialectOptions
    targets: Sequence[str]
    as_text: Sequence[str]
    nulls: Sequence[str]
    trained: Mapping[str, Any] | None = None

    def read(self, file: TableFile) -> tuple[pa.Table, Dialect]:
        """Returns the valid rows of a file, and how it is written. A row with too few or too many cells is invalid.

        Raises:
            TfloopError: the file cannot be read, two columns have one name, a quote is not closed, or the first invalid
                row if such examples are not skipped (exit code 4).
        """
        try:
            sample = sample_of(file)
            dialect = detect(sample, file.name, self.options, self.targets, self.trained)
            _check_names(file, dialect)
            longest = max(map(len, sample.split(b"\n")))
            table, invalid = self._parse(file, dialect, longest)
            if table is None:
                if self.options.encoding != "auto":
                    _refuse_encoding(file, dialect.encoding)
                with file.open() as stream:
                    dialect = replace(dialect, encoding=single_byte_encoding(stream.read()))
                table, invalid = self._parse(file, dialect, longest)
            assert table is not None  # any bytes can be decoded now
        except (UnicodeError, LookupError) as error:
            refuse(file.name, None, f"it cannot be decoded: {error}", hint="set `encoding`, such as `latin-1`")
        except OSError as error:
            refuse(file.name, None, f"it cannot be read: {error.strerror or error}")
        self._check_quotes(file, dialect, table, invalid)
        if invalid:
            self._report(file, dialect, len(invalid))
        return table, dialect

    def _parse(self, file: TableFile, dialect: Dialect, longest: int) -> tuple[pa.Table | None, list[str]]:
        """Returns the valid rows, None if the file is not UTF-8; and the texts of the other rows.

        `longest` is the length of the longest line of the sample: a row must fit in one block of pyarrow.
        """
        invalid: list[str] = []

        def collect(row: arrow_csv.InvalidRow) -> str:
            invalid.append(row.text)
            return "skip"

        texts = {*self.targets, *self.as_text, *dialect.codes}
        encoding = dialect.encoding if dialect.is_plain else "utf-8"
        stream = file.open() if dialect.is_plain else pa.py_buffer(_prepared(file, dialect))
        read = arrow_csv.ReadOptions(
            column_names=list(dialect.names), skip_rows_after_names=dialect.skipped_lines, encoding=encoding,
            block_size=max(2**20, 8 * longest),
        )  # fmt: skip
        parse = arrow_csv.ParseOptions(
            delimiter=dialect.separator, quote_char=dialect.quote or False, newlines_in_values=True,
            invalid_row_handler=collect,
        )  # fmt: skip
        convert = arrow_csv.ConvertOptions(
            column_types={name: WORDS for name in dialect.names if name in texts},
            null_values=list(self.nulls), strings_can_be_null=False, true_values=[], false_values=[],
            auto_dict_encode=True, auto_dict_max_cardinality=MAX_DICTIONARY, decimal_point=dialect.decimal,
        )  # fmt: skip
        try:
            table = arrow_csv.read_csv(stream, read_options=read, parse_options=parse, convert_options=convert)
        except pa.ArrowInvalid as error:
            if "invalid UTF8" in str(error):
                return None, []
            if next(records(file, dialect), None) is None:  # the header is all there is
                return pa.table({name: pa.array([], WORDS) for name in dialect.names}), []
            refuse(file.name, None, f"it cannot be read: {error}")
        return (None if any(_is_binary(column.type) for column in table.columns) else table), invalid

    def _check_quotes(self, file: TableFile, dialect: Dialect, table: pa.Table, invalid: list[str]) -> None:
        """An unclosed quote makes the rest of the file one cell, of the last row or of an invalid one."""
        last = [column[-1].as_py() for column in table.columns] if table.num_rows else []
        if any("\n" in cell for cell in [*last, *invalid] if isinstance(cell, str)):
            for _ in records(file, dialect, strict=True):
                pass

    def _report(self, file: TableFile, dialect: Dialect, count: int) -> None:
        cells = len(dialect.names)
        for line, row in records(file, dialect):
            if len(row) != cells:
                problem = f"the row has {len(row)} cell(s), and the header has {cells} columns"
                skip_example(self.split, invalid_row(self.split, file.name, line, problem), count)
                return
        problem = f"{count} row(s) do not have {cells} cells"
        skip_example(self.split, invalid_row(self.split, file.name, 1, problem), count)


def records(file: TableFile, dialect: Dialect, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yields the line (counted from 1) and the cells of each row after the header, as Python's csv module reads them.

    Raises:
        TfloopError: with `strict`, a quote is not closed (exit code 4).
    """
    line, header = 1, dialect.has_header
    with file.text(dialect.encoding) as stream:
        source = _without_comments(stream, dialect) if not dialect.is_plain else stream
        reader = dialect.reader(source, strict=strict)
        try:
            for cells in reader:
                if cells and not header:
                    yield line, cells
                header = header and not cells
                line = reader.line_num + 1
        except csv.Error as error:
            if strict:
                refuse(file.name, line, f"this row cannot be read: {error}", hint="check for an unclosed quote")


def line_of(file: TableFile, dialect: Dialect, row: int) -> int | None:
    """Returns the line on which a valid row begins; rows are counted from 0. None if it cannot be found."""
    valid = (line for line, cells in records(file, dialect) if len(cells) == len(dialect.names))
    return next((line for number, line in enumerate(valid) if number == row), None)


def _without_comments(stream: Iterator[str], dialect: Dialect) -> Iterator[str]:
    """Yields lines as pyarrow reads them; a comment becomes an empty line, so that lines are counted right."""
    for line in stream:
        if dialect.comment and line.startswith(dialect.comment):
            yield "\n"
        else:
            yield squeeze(line.rstrip("\r\n")) + "\n" if dialect.separator == " " else line


def _prepared(file: TableFile, dialect: Dialect) -> bytes:
    """Returns the content of a file in UTF-8, without comments and without repeated spaces."""
    with file.text(dialect.encoding) as stream:
        text = stream.read()
    if dialect.comment:
        text = re.sub(rf"(?m)^{re.escape(dialect.comment)}.*\n?", "", text)
    if dialect.separator == " ":
        text = re.sub(r"(?m)^[ \t]+|[ \t]+(?=\r?$)", "", text)
        text = re.sub(r"[ \t]+", " ", text)
    return text.encode()


def sample_of(file: TableFile) -> bytes:
    """Returns the beginning of a file, with several complete lines."""
    size = SAMPLE_BYTES
    while len(sample := file.head(size)) == size and sample.count(b"\n") <= SAMPLE_LINES:
        size *= 4
    return sample


def _check_names(file: TableFile, dialect: Dialect) -> None:
    names = dialect.names
    if not names:
        refuse(file.name, None, "it has no rows")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        refuse(
            file.name, 1, f"two columns are called `{twice[0]}`",
            hint="the first line must contain distinct column names; without names, set `header: none`",
        )  # fmt: skip


def _is_binary(type_: pa.DataType) -> bool:
    return pa.types.is_binary(type_.value_type if pa.types.is_dictionary(type_) else type_)


def _refuse_encoding(file: TableFile, encoding: str) -> None:
    with file.open() as stream:
        for number, line in enumerate(stream.read().split(b"\n"), 1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                refuse(file.name, number, f"it is not {encoding}: {error.reason}", hint="set `encoding`")
    refuse(file.name, None, f"it is not {encoding}", hint="set `encoding`")


def null_texts(missing_values: Sequence[str]) -> list[str]:
    """Returns the texts of missing values in the usual cases: na, NA, Na."""
    variants: Mapping[str, None] = dict.fromkeys(
        form for value in missing_values for form in (value, value.lower(), value.upper(), value.capitalize())
    )
    return ["", *variants]
