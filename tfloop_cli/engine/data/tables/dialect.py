"""How a file of separated values is written: encoding, separator, quotes, header, decimal mark.

Everything is detected on the first `SAMPLE_BYTES` of a file, and every part can be set.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

from tfloop_cli.engine.data.tables.column_names import distinct, repeated
from tfloop_cli.engine.data.tables.dialect_options import NAMED
from tfloop_cli.engine.data.tables.dialect_options import DialectOptions as DialectOptions
from tfloop_cli.engine.data.tables.encodings import find_encoding
from tfloop_cli.engine.data.tables.headers import NO_HEADER, Header, find_header
from tfloop_cli.engine.data.tables.marks import NO_MARKS, Marks, decimal_mark, marks_of, quote_mark
from tfloop_cli.engine.data.tables.separators import SEPARATORS, find_separator
from tfloop_cli.engine.data.tables.surroundings import arff_header, is_arff, lines_above

SAMPLE_BYTES = 2**18
SAMPLE_LINES = 3  # a sample of a file with very long lines is larger
SAMPLE_ROWS = 1000
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[;,\t]*')  # above the header
_CELL_END = "\x1f"  # stands for a separator that is not one ASCII character
csv.field_size_limit(2**31 - 1)  # Python's default limit is 128 KiB
_CODE = re.compile(r"\s*[+-]?0[\dxX].*")  # 007 and 0x1F, which pyarrow reads as the numbers 7 and 31


@dataclass(frozen=True)
class Dialect:
    """How one file is written.

    Attributes:
        encoding: a name that Python knows.
        separator: one character, or up to three; " " stands for any number of spaces.
        quote: one character, or "" if there are no quotes.
        comment: lines that begin with it are not read; "" for no such lines.
        decimal: "." or ",".
        names: of the columns; generated (`column_1`, ...) without a header.
        repeated: names that several columns have in the file; see `distinct`.
        preamble: lines above the header, or above the first row, that are no part of the table.
        header: the lines with the names of the columns, or about them.
        skipped_lines: lines before the first row: the header, and all lines above it; comments are not counted.
        is_arff: whether the names come from an ARFF file, which has them in lines above the table.
        marks: columns with another decimal mark.
        is_shifted: whether columns of fixed width have spaces in their cells, and rows so a cell more than the header.
        codes: columns that must be read as text: a value of the sample begins with 0 and is no number (007, 0x1F).
    """

    encoding: str
    separator: str
    quote: str
    comment: str
    decimal: str
    names: tuple[str, ...] = ()
    preamble: int = 0
    header: Header = NO_HEADER
    skipped_lines: int = 0
    is_arff: bool = False
    codes: frozenset[str] = field(default_factory=frozenset)
    repeated: tuple[str, ...] = ()
    marks: Marks = NO_MARKS
    is_shifted: bool = False

    @property
    def has_header(self) -> bool:
        """Whether the names come from the file."""
        return self.header.lines > 0 or self.is_arff

    @property
    def facts(self) -> dict[str, Any]:
        """What belongs to the encoders of a run: what other files may leave open."""
        lines = {"lines": self.header.lines, "joined": self.header.joined} if self.header.lines > 1 else {}
        commas = {"commas": sorted(self.marks.commas)} if self.marks.commas else {}
        return {"decimal": self.decimal, "header": self.has_header, "quote": self.quote, **lines, **commas}

    @property
    def is_plain(self) -> bool:
        """Whether pyarrow can read the bytes of the file as they are."""
        return not self.comment and self.separator != " " and self.delimiter == self.separator

    @property
    def delimiter(self) -> str:
        """The character between the cells of a `normal` line, in ASCII."""
        return self.separator if len(self.separator) == 1 and self.separator.isascii() else _CELL_END

    def normal(self, line: str) -> str:
        """Returns a line in which the delimiter is between any two cells."""
        if self.separator == " ":
            end = line[len(line.rstrip("\r\n")) :]
            return squeeze(line.removesuffix(end)) + end
        return line if self.delimiter == self.separator else line.replace(self.separator, self.delimiter)

    def reader(self, stream: io.TextIOBase | Sequence[str], *, strict: bool = False) -> "csv._reader":
        """Returns Python's reader of the rows of a stream."""
        quoting = csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE
        return csv.reader(
            stream, delimiter=self.delimiter, quotechar=self.quote or None, quoting=quoting, strict=strict,
            skipinitialspace=self.separator == " ",
        )  # fmt: skip


def detect(
    sample: bytes, file: str, options: DialectOptions, targets: Sequence[str], trained: Mapping[str, Any] | None = None
) -> Dialect:
    """Returns the dialect of a file.

    The first line is the header if it has the name of a target. Otherwise it is the first row if one of its cells is a
    number, or if two are equal.

    Args:
        sample: the first `SAMPLE_BYTES` of the file, or all of it if it is shorter.
        file: its name; tabs separate the cells of a .tsv or .tab file.
        options: what the user has set.
        targets: names of the columns to predict.
        trained: `Dialect.facts` of the training file, for another one: it has a header if the training file has, and
            the same decimal mark and quotation mark where its cells leave that open.
    """
    encoding = find_encoding(sample, options.free_text) if options.encoding == "auto" else options.encoding
    if is_arff(sample):
        return _arff(sample, encoding)
    comment = "" if options.comment == "none" else options.comment
    lines = _lines(sample, encoding, comment)
    quote = "" if _is_tsv(file) else '"'
    if options.quote != "auto":
        quote = options.quote.replace("none", "")
    elif not options.free_text:
        quote = quote_mark(lines, _is_tsv(file), trained.get("quote") if trained else None)
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    separator, preamble = NAMED.get(options.separator, options.separator), 0
    if lines and (named := _SEPARATOR_LINE.fullmatch(lines[0])):  # Excel writes it, and reads it
        separator, preamble = named[1] if separator == "auto" else separator, 1
    if options.header == "auto" and not comment and not options.free_text:
        candidates = SEPARATORS[:-1] if separator == "auto" else [separator]
        preamble += _preamble(lines[preamble:], candidates, quote, targets)
    first = max(first, preamble)
    if separator == "auto":
        candidates = SEPARATORS[:-1] if options.free_text else SEPARATORS
        below = [line for line in lines[first:] if line.strip()][:SAMPLE_ROWS] or [""]
        separator = find_separator(
            below, candidates, _is_tsv(file), lambda one: _rows(below, Dialect("", one, quote, "", "."))
        )
    dialect = Dialect(encoding, separator, quote, comment, ".")
    rows = _rows(lines[first:], dialect)
    decimal = _decimal(rows, separator, options, trained)
    header = find_header(rows, targets, options.header, is_tab=".tab" in _suffixes(file), trained=trained)
    cells, rows = len(rows[0]) if rows else 0, rows[header.lines :]
    written = _names(header.names, rows) if header.lines else [f"column_{number}" for number in range(1, cells + 1)]
    names = distinct(written)
    has_row_names = separator == " " and 0 < len(header.names) < len(names)
    is_shifted = has_row_names and options.separator == "auto" and re.match(r"\S.* {2}", lines[first]) is not None
    return Dialect(
        encoding, separator, quote, comment, decimal, tuple(names), preamble, header,
        first + header.lines if header.lines else preamble, codes=_codes(names, rows), repeated=repeated(written),
        is_shifted=is_shifted, marks=_marks(names, rows, replace(dialect, decimal=decimal), options, trained),
    )  # fmt: skip


def _decimal(rows: list[list[str]], separator: str, options: DialectOptions, trained: Mapping[str, Any] | None) -> str:
    """Returns the decimal mark of a file: a point if columns have different ones."""
    if isinstance(options.decimal, str) and options.decimal != "auto":
        return options.decimal
    if options.decimals or (trained and trained.get("commas")):
        return "."
    return decimal_mark(rows, separator, trained["decimal"] if trained else None)


def _marks(
    names: list[str],
    rows: list[list[str]],
    dialect: "Dialect",
    options: DialectOptions,
    trained: Mapping[str, Any] | None,
) -> Marks:
    """Returns which columns have a decimal comma, and others not; those of the training file have it here, too."""
    if trained:
        return Marks(frozenset(trained.get("commas", ())))
    is_known = options.decimal in (".", ",") or dialect.decimal == "," or dialect.separator == ","
    return (
        NO_MARKS
        if options.free_text or (is_known and not options.decimals)
        else marks_of(names, rows, options.decimals)
    )


def _arff(sample: bytes, encoding: str) -> Dialect:
    """Returns the dialect of an ARFF file."""
    lines = re.split(r"\r\n|\n|\r", sample.decode(encoding, errors="replace"))
    names, above = arff_header(lines)
    quote = quote_mark(lines[above:], is_tsv=False)
    rows = _rows(lines[above:], Dialect("", ",", quote, "%", "."))
    skipped = sum(not line.startswith("%") for line in lines[:above])
    columns = distinct(names)
    codes = _codes(columns, rows)
    return Dialect(
        encoding, ",", quote, "%", ".", tuple(columns), above, NO_HEADER, skipped, True, codes, repeated(names)
    )


def squeeze(line: str) -> str:
    """Returns a line in which one space is between any two cells."""
    return re.sub(r"[ \t]+", " ", line.strip(" \t"))


def _lines(sample: bytes, encoding: str, comment: str) -> list[str]:
    """Returns the complete lines of a sample, without comments."""
    text = sample.decode(encoding, errors="replace").removeprefix("\ufeff")
    lines = re.split(r"\r\n|\n|\r", text)
    if len(sample) >= SAMPLE_BYTES and len(lines) > 1:
        del lines[-1]
    return [line for line in lines[: 2 * SAMPLE_ROWS] if not (comment and line.startswith(comment))]


def _is_tsv(file: str) -> bool:
    return not {".tsv", ".tab"}.isdisjoint(_suffixes(file))


def _suffixes(file: str) -> list[str]:
    return [suffix.lower() for suffix in PurePath(file).suffixes]


def _preamble(lines: list[str], candidates: Sequence[str], quote: str, targets: Sequence[str]) -> int:
    """Returns the number of lines above a table, see `lines_above`, with the first separator that fits."""
    for separator in candidates:
        dialect = Dialect("", separator, quote, "", ".")
        rows = [next(iter(_rows([line], dialect)), []) for line in lines[:SAMPLE_ROWS]]
        if (above := lines_above(rows, targets)) is not None:
            return above
    return 0


def _rows(lines: list[str], dialect: Dialect) -> list[list[str]]:
    """Returns the rows of a sample; the last one is left out if a quote in it is not closed."""
    rows = []
    try:
        for row in dialect.reader([f"{dialect.normal(line)}\n" for line in lines]):
            if row:
                rows.append(row)
            if len(rows) > SAMPLE_ROWS:
                break
    except csv.Error:
        pass
    return rows[:-1] if len(rows) > 1 and any("\n" in cell for cell in rows[-1]) else rows


def _names(named: Sequence[str], rows: list[list[str]]) -> list[str]:
    """Returns the names of a header; R does not write the name of the first column, which has the names of the rows."""
    if rows and all(len(row) == len(named) + 1 for row in rows):
        named = [*named, ""] if not any(row[-1].strip() for row in rows) else ["rownames", *named]
    names = [name or f"column_{number}" for number, name in enumerate(named, 1)]
    return ["rownames", *names[1:]] if named and not named[0] else names


def _codes(names: Sequence[str], rows: list[list[str]]) -> frozenset[str]:
    return frozenset(
        name for row in rows for name, cell in zip(names, row, strict=False) if cell and _CODE.fullmatch(cell)
    )
