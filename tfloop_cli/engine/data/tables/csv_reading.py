"""Reads files of separated values with pyarrow, and finds the line of a row."""

import codecs
import csv
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from tfloop_cli.engine.data.invalid_examples import skip_example
from tfloop_cli.engine.data.problems import invalid_row, refuse
from tfloop_cli.engine.data.tables.dialect import (
    SAMPLE_BYTES,
    SAMPLE_LINES,
    Dialect,
    DialectOptions,
    detect,
)
from tfloop_cli.engine.data.tables.encodings import SINGLE_BYTE, other_encodings, single_byte_encoding
from tfloop_cli.engine.data.tables.files import TableFile, csv_memory
from tfloop_cli.engine.data.tables.marks import with_points
from tfloop_cli.engine.data.tables.quotes import without_spaces_before_quotes
from tfloop_cli.engine.data.tables.recovery import Recovery, recover
from tfloop_cli.engine.data.tables.surroundings import is_arff

Lines = Callable[[], Iterable[int]]  # returns the line of each valid row of a file, counted from 1

MAX_BLOCK = 2**30  # bytes; a row must fit in a block of pyarrow
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
        names_classes: whether numbers of targets become the names of classes, see `class_labels`.
    """

    split: str
    options: DialectOptions
    targets: Sequence[str]
    as_text: Sequence[str]
    nulls: Sequence[str]
    trained: Mapping[str, Any] | None = None
    names_classes: bool = True

    def read(self, file: TableFile) -> tuple[pa.Table, Dialect, Lines]:
        """Returns the valid rows of a file, how it is written, and the lines of the rows.

        A row with too few or too many cells, with an unclosed quote, or that cannot be decoded is invalid.

        Raises:
            TfloopError: the file, or a row that is not skipped, is invalid, or two columns have a target's name (4).
        """
        try:
            file = without_spaces_before_quotes(file, sample_of(file), self.options)
            sample = sample_of(file)
            dialect = detect(sample, file.name, self.options, self.targets, self.trained)
            refuse_doubtful(file, sample, dialect, self.options)
            if not dialect.names:
                refuse(file.name, None, "it has no rows")
            refuse_repeated(file, dialect.repeated, self.targets)
            longest = max(map(len, sample.split(b"\n")))
            table, invalid = self._parse(file, dialect, longest)
            if invalid and (joined := without_lone_returns(file, dialect)):
                return self.read(joined)
            if table is None and self.options.guesses_encoding:
                with file.open() as stream:
                    dialect = replace(dialect, encoding=single_byte_encoding(stream.read()))
                table, invalid = self._parse(file, dialect, longest)
            undecodable = any("\ufffd" in name for name in dialect.names)
            spans_lines = table is not None and _spans_lines(table, invalid)
            if table is None or undecodable or (spans_lines and not _closes_quotes(file, dialect)):
                found = recover(file, dialect)
                if table is None or found.misquoted:
                    return self._recovered(file, dialect, found, longest), dialect, lambda: found.lines
        except (UnicodeError, LookupError) as error:
            refuse(file.name, None, f"it cannot be decoded: {error}", self.options.hint("encoding"))
        except OSError as error:
            refuse(file.name, None, f"it cannot be read: {error.strerror or error}")
        if invalid:
            self._report(file, dialect, len(invalid))
        cells = len(dialect.names)
        return table, dialect, lambda: (line for line, row in records(file, dialect) if len(row) == cells)

    def _parse(
        self, file: TableFile, dialect: Dialect, longest: int, content: bytes | None = None
    ) -> tuple[pa.Table | None, list[str]]:
        """Returns the valid rows, None if the file is not in its encoding; and the texts of the other rows.

        `longest` is the length of the longest line of the sample: a row must fit in one block of pyarrow. `content`
        replaces that of the file; it is in UTF-8 and has no comments.
        """
        invalid: list[str] = []

        def collect(row: arrow_csv.InvalidRow) -> str:
            invalid.append(row.text)
            return "skip"

        is_plain = dialect.is_plain and content is None
        may_span_lines = bool(dialect.quote) and (not is_plain or file.may_have(dialect.quote))  # takes longer to read
        parse = arrow_csv.ParseOptions(
            delimiter=dialect.delimiter, quote_char=dialect.quote or False, newlines_in_values=may_span_lines,
            invalid_row_handler=collect,
        )  # fmt: skip
        block = max(2**20, 8 * longest)
        while True:
            read = arrow_csv.ReadOptions(
                column_names=list(dialect.names), skip_rows_after_names=dialect.skipped_lines,
                encoding=dialect.encoding if is_plain else "utf-8", block_size=min(block, MAX_BLOCK),
            )  # fmt: skip
            try:
                stream = file.open() if is_plain else pa.py_buffer(content or _prepared(file, dialect))
                table = arrow_csv.read_csv(stream, read, parse, self._types(dialect), memory_pool=csv_memory())
                break
            except UnicodeDecodeError:
                return None, []
            except pa.ArrowInvalid as error:
                invalid.clear()
                if "straddling" in str(error) and block < MAX_BLOCK:
                    block *= 32
                    continue
                if "invalid UTF8" in str(error):
                    return None, []
                if next(records(file, dialect), None) is None:  # the header is all there is
                    return pa.table({name: pa.array([], WORDS) for name in dialect.names}), []
                refuse(file.name, None, f"it cannot be read: {error}")
        is_text = not any(_is_binary(column.type) for column in table.columns)
        return (with_points(table, dialect.marks.commas) if is_text else None), invalid

    def _types(self, dialect: Dialect) -> arrow_csv.ConvertOptions:
        texts = {*self.targets, *self.as_text, *dialect.codes, *dialect.marks.commas}
        types = {name: WORDS for name in dialect.names if name in texts}
        if self.options.free_text:
            types = dict.fromkeys(dialect.names, pa.string())
        return arrow_csv.ConvertOptions(
            column_types=types, null_values=list(self.nulls), strings_can_be_null=False, true_values=[],
            false_values=[], auto_dict_encode=True, auto_dict_max_cardinality=MAX_DICTIONARY,
            decimal_point=dialect.decimal,
        )  # fmt: skip

    def _recovered(self, file: TableFile, dialect: Dialect, found: Recovery, longest: int) -> pa.Table:
        """Returns the rows that can be read; the others are invalid examples."""
        for line, problem, hint in found.problems:
            hint = self.options.hint("encoding") if hint == "encoding" else hint
            skip_example(self.split, invalid_row(self.split, file.name, line, problem, hint))
        if not found.rows:
            return pa.table({name: pa.array([], WORDS) for name in dialect.names})
        table, _ = self._parse(file, dialect, longest, found.content)
        assert table is not None  # the content is UTF-8
        return table

    def _report(self, file: TableFile, dialect: Dialect, count: int) -> None:
        cells, quoted = len(dialect.names), False
        for line, row in records(file, dialect):
            quoted = quoted or any('"' in cell for cell in row)
            if len(row) != cells:
                problem = f"the row has {len(row)} cell(s), and the header has {cells} columns"
                hint = self.options.quote_hint(dialect.quote) if quoted else None
                skip_example(self.split, invalid_row(self.split, file.name, line, problem, hint), count)
                return
        problem = f"{count} row(s) do not have {cells} cells"
        skip_example(self.split, invalid_row(self.split, file.name, 1, problem), count)


def records(file: TableFile, dialect: Dialect, errors: str = "strict") -> Iterator[tuple[int, list[str]]]:
    """Yields the line (counted from 1) and the cells of each row after the header, by Python's csv module.

    `errors`: see `open`.
    """
    line, header = dialect.preamble + 1, dialect.header.lines
    with file.text(dialect.encoding, errors) as stream:
        source = _without_comments(stream, dialect) if not dialect.is_plain else stream
        reader = dialect.reader(islice(source, dialect.preamble, None))
        for cells in reader:
            if cells and not header:
                yield line, cells
            header = max(0, header - bool(cells))
            line = dialect.preamble + reader.line_num + 1


def _without_comments(stream: Iterator[str], dialect: Dialect) -> Iterator[str]:
    """Yields lines as pyarrow reads them; a comment becomes an empty line, so that lines are counted right."""
    for line in stream:
        if dialect.comment and line.startswith(dialect.comment):
            yield "\n"
        else:
            yield dialect.normal(line)


def _prepared(file: TableFile, dialect: Dialect) -> bytes:
    """Returns the content of a file in UTF-8, without comments, with the delimiter between cells."""
    with file.text(dialect.encoding) as stream:
        text = stream.read()
    if dialect.comment:
        text = re.sub(rf"(?m)^{re.escape(dialect.comment)}.*\n?", "", text)
    if dialect.separator == " ":
        text = re.sub(r"(?m)^[ \t]+|[ \t]+(?=\r?$)", "", text)
        text = re.sub(r"[ \t]+", " ", text)
    return (text if dialect.separator == " " else dialect.normal(text)).encode()


def refuse_doubtful(file: TableFile, sample: bytes, dialect: Dialect, options: DialectOptions) -> None:
    """Raises TfloopError (exit code 4) if a file, of which `sample` is the beginning, can be read in several ways."""
    guessed = options.guesses_encoding and dialect.encoding in SINGLE_BYTE
    if found := other_encodings(sample) if guessed else {}:
        read = ", ".join(f"`{encoding}` reads {text}" for encoding, text in found.items())
        refuse(file.name, None, f"it is not UTF-8; {read}", options.hint("encoding", next(iter(found))))
    if dialect.is_shifted:
        problem = "columns of fixed width have spaces in their cells, so spaces do not separate them"
        refuse(file.name, 1, problem, options.hint("separator") or "convert it to .csv")
    for name, what in dialect.marks.doubtful.items():
        hint = f"which one? `decimal: {{{name}: ','}}`, or '.'" if options.are_keys else None
        refuse(file.name, None, f"column `{name}` has {what}", hint)


def sample_of(file: TableFile) -> bytes:
    """Returns the beginning of a file, with several complete lines, and all names of an ARFF file."""
    size = SAMPLE_BYTES
    while len(sample := file.head(size)) == size:
        names_end = not is_arff(sample) or b"\n@data" in sample.lower()
        if names_end and sample.count(b"\n") > SAMPLE_LINES:
            break
        size *= 4
    return sample


def without_lone_returns(file: TableFile, dialect: Dialect) -> TableFile | None:
    """Returns a file with a space for each carriage return that is no line end, as most lines end in a line feed.

    pandas writes such a character in a cell without quotes. None if there is none.
    """
    if codecs.lookup(dialect.encoding).name.startswith(("utf-16", "utf-32")):
        return None
    with file.open() as stream:
        content = stream.read()
    joined, count = re.subn(rb"\r(?!\n)", b" ", content)
    return replace(file, content=joined) if 0 < count < content.count(b"\n") else None


def refuse_repeated(file: TableFile, repeated: Sequence[str], needed: Sequence[str]) -> None:
    """Raises TfloopError (exit code 4) if several columns have the name of one that is needed."""
    if twice := [name for name in repeated if name in needed]:
        hint = "give each column a name of its own in the file"
        refuse(file.name, 1 if file.kind == "csv" else None, f"two columns are called `{twice[0]}`", hint)


def _is_binary(type_: pa.DataType) -> bool:
    return pa.types.is_binary(type_.value_type if pa.types.is_dictionary(type_) else type_)


def _spans_lines(table: pa.Table, invalid: Sequence[str]) -> bool:
    """Whether a cell has a line break: it is quoted, or follows a quote that is not closed."""
    return any("\n" in row for row in invalid) or any(
        pc.any(pc.match_substring(texts, "\n")).as_py() for column in table.columns for texts in _texts(column)
    )


def _closes_quotes(file: TableFile, dialect: Dialect) -> bool:
    """Whether Python's csv module finds no fault in the quotes of a file, which it reads fast."""
    with file.text(dialect.encoding) as stream:
        source = _without_comments(stream, dialect) if not dialect.is_plain else stream
        try:
            deque(dialect.reader(source, strict=True), maxlen=0)
        except csv.Error:
            return False
    return True


def _texts(column: pa.ChunkedArray) -> Iterator[pa.Array]:
    """Yields the distinct texts of a column; nothing for numbers."""
    if pa.types.is_dictionary(column.type):
        yield from (chunk.dictionary for chunk in column.chunks if not pa.types.is_integer(chunk.dictionary.type))
    elif pa.types.is_string(column.type):
        yield from column.chunks


def null_texts(missing_values: Sequence[str]) -> list[str]:
    """Returns the texts of missing values in the usual cases: na, NA, Na."""
    variants: Mapping[str, None] = dict.fromkeys(
        form for value in missing_values for form in (value, value.lower(), value.upper(), value.capitalize())
    )
    return ["", *variants]
