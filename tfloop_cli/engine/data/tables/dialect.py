"""How a file of separated values is written: encoding, separator, quotes, header, decimal mark.

Everything is detected on the first `SAMPLE_BYTES` of a file, and every part can be set.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from tfloop_cli.engine.data.tables.column_names import distinct, repeated
from tfloop_cli.engine.data.tables.encodings import find_encoding
from tfloop_cli.engine.data.tables.marks import decimal_mark, quote_mark
from tfloop_cli.engine.data.tables.surroundings import CONSISTENT, arff_header, is_arff, lines_above, lines_below
from tfloop_cli.errors import TfloopError

SAMPLE_BYTES = 2**18
SAMPLE_LINES = 3  # a sample of a file with very long lines is larger
SAMPLE_ROWS = 1000
SEPARATORS = ("\t", ";", ",", "|", " ")  # the first one that fits all rows is used
_NAMED = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
_NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*")
csv.field_size_limit(2**31 - 1)  # Python's default limit is 128 KiB
_CODE = re.compile(r"\s*[+-]?0[\dxX].*")  # 007 and 0x1F, which pyarrow reads as the numbers 7 and 31


@dataclass(frozen=True)
class DialectOptions:
    """What a user may set; "auto" is detected.

    Attributes:
        separator: one character, or "tab" or "space" (of any length).
        header: "first_line" or "none".
        decimal: "." or ",".
        encoding: a name that Python knows.
        quote: one character, or "none".
        comment: lines that begin with it are not read; "none": there are no such lines.
        free_text: whether the file has texts, which do not show how it is written: a quotation mark in a .tsv file is a
            character, a space never separates cells, and bytes that are not UTF-8 make a row invalid.
        are_keys: whether these are keys of the dataset, which hints may name.
    """

    separator: str = "auto"
    header: str = "auto"
    decimal: str = "auto"
    encoding: str = "auto"
    quote: str = "auto"
    comment: str = "none"
    free_text: bool = False
    are_keys: bool = True

    @property
    def guesses_encoding(self) -> bool:
        """Whether a file that is not UTF-8 has a single-byte encoding."""
        return self.encoding == "auto" and not self.free_text

    def hint(self, key: str, encoding: str = "latin-1") -> str | None:
        """Returns what to do about a file of another encoding or header."""
        if key == "encoding":
            set_key = f", or set the encoding, such as `dataset.encoding={encoding}`" if self.are_keys else ""
            return f"save the file as UTF-8{set_key}"
        return f"key `{key}`" if self.are_keys else None

    def quote_hint(self, dialect: "Dialect") -> str | None:
        """Returns what to do about a row with too few or too many cells after a quotation mark."""
        if dialect.quote or not self.are_keys:
            return None
        return "quotation marks are read as characters; if they enclose cells, set the key `quote`: '\"'"

    def check(self) -> None:
        """Raises TfloopError (exit code 2) for an unknown encoding, or a separator or quote of several characters."""
        try:
            codecs.lookup("utf-8" if self.encoding == "auto" else self.encoding)
        except LookupError as error:
            raise TfloopError(f"`dataset.encoding`: {error}", hint="such as `latin-1` or `cp1252`") from error
        for key, value, words in (
            ("separator", self.separator, {"auto", *_NAMED}),
            ("quote", self.quote, {"auto", "none"}),
        ):
            if len(value) != 1 and value not in words:
                names = ", ".join(f"`{word}`" for word in sorted(words) if word.isalpha())
                raise TfloopError(f"`dataset.{key}` is `{value}`", hint=f"use one character, or {names}")


@dataclass(frozen=True)
class Dialect:
    """How one file is written.

    Attributes:
        encoding: a name that Python knows.
        separator: one character; " " stands for any number of spaces.
        quote: one character, or "" if there are no quotes.
        comment: lines that begin with it are not read; "" for no such lines.
        decimal: "." or ",".
        names: of the columns; generated (`column_1`, ...) without a header.
        repeated: names that several columns have in the file; see `distinct`.
        preamble: lines above the header, or above the first row, that are no part of the table.
        header_lines: lines of the header: 0, 1, or 3 in files of Orange, which describe the columns below their names.
        skipped_lines: lines before the first row: the header, and all lines above it; comments are not counted.
        is_arff: whether the names come from an ARFF file, which has them in lines above the table.
        codes: columns that must be read as text: a value of the sample begins with 0 and is no number (007, 0x1F).
    """

    encoding: str
    separator: str
    quote: str
    comment: str
    decimal: str
    names: tuple[str, ...] = ()
    preamble: int = 0
    header_lines: int = 0
    skipped_lines: int = 0
    is_arff: bool = False
    codes: frozenset[str] = field(default_factory=frozenset)
    repeated: tuple[str, ...] = ()

    @property
    def has_header(self) -> bool:
        """Whether the names come from the file."""
        return self.header_lines > 0 or self.is_arff

    @property
    def facts(self) -> dict[str, Any]:
        """What belongs to the encoders of a run: what other files may leave open."""
        return {"decimal": self.decimal, "header": self.has_header, "quote": self.quote}

    @property
    def is_plain(self) -> bool:
        """Whether pyarrow can read the bytes of the file as they are."""
        return not self.comment and self.separator != " "

    def reader(self, stream: io.TextIOBase | Sequence[str], *, strict: bool = False) -> "csv._reader":
        """Returns Python's reader of the rows of a stream."""
        quoting = csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE
        return csv.reader(
            stream, delimiter=self.separator, quotechar=self.quote or None, quoting=quoting, strict=strict,
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
    separator = _NAMED.get(options.separator, options.separator)
    preamble = 0
    if options.header == "auto" and not comment and not options.free_text:
        candidates = SEPARATORS[:-1] if separator == "auto" else [separator]
        preamble = _preamble(lines, candidates, quote, targets)
    first = max(first, preamble)
    if separator == "auto":
        candidates = SEPARATORS[:-1] if options.free_text else SEPARATORS
        separator = _separator(lines[first:], candidates, _is_tsv(file), quote)
    dialect = Dialect(encoding, separator, quote, comment, ".")
    rows = _rows(lines[first:], dialect)
    usual = trained["decimal"] if trained else None
    decimal = decimal_mark(rows, separator, usual) if options.decimal == "auto" else options.decimal
    header = options.header == "first_line" if options.header != "auto" else trained and trained["header"]
    named = [name if name in targets else name.strip() for name in rows[0]] if rows else []
    if header is None:
        twice = len(set(filter(None, named))) < len(list(filter(None, named)))
        header = any(target in named for target in targets) or not (twice or any(map(_NUMBER.fullmatch, named)))
    below = lines_below(rows, ".tab" in _suffixes(file))
    below = 0 if below == 1 and options.header == "first_line" else below  # a line of units
    header_lines = 1 + below if header else 0
    rows = rows[header_lines:]
    written = _names(named, rows) if header else [f"column_{number}" for number in range(1, len(named) + 1)]
    names = distinct(written)
    return Dialect(
        encoding, separator, quote, comment, decimal, tuple(names), preamble, header_lines,
        first + header_lines if header else preamble, codes=_codes(names, rows), repeated=repeated(written),
    )  # fmt: skip


def _arff(sample: bytes, encoding: str) -> Dialect:
    """Returns the dialect of an ARFF file."""
    lines = re.split(r"\r\n|\n|\r", sample.decode(encoding, errors="replace"))
    names, above = arff_header(lines)
    quote = quote_mark(lines[above:], is_tsv=False)
    rows = _rows(lines[above:], Dialect("", ",", quote, "%", "."))
    skipped = sum(not line.startswith("%") for line in lines[:above])
    columns = distinct(names)
    codes = _codes(columns, rows)
    return Dialect(encoding, ",", quote, "%", ".", tuple(columns), above, 0, skipped, True, codes, repeated(names))


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


def _separator(lines: list[str], candidates: Sequence[str], is_tsv: bool, quote: str) -> str:
    if is_tsv and "\t" in lines[0]:
        return "\t"
    best, best_fit = ",", 0.0
    for separator in candidates:
        rows = _rows(lines[:SAMPLE_ROWS], Dialect("", separator, quote, "", "."))
        counts = Counter(map(len, rows[1:] or rows))
        if not counts:
            continue
        cells, rows_with = counts.most_common(1)[0]
        fit = rows_with / counts.total() if cells > 1 and len(rows[0]) in (cells, cells - 1) else 0.0
        if fit >= CONSISTENT:
            return separator
        if fit > best_fit:
            best, best_fit = separator, fit
    return best


def _rows(lines: list[str], dialect: Dialect) -> list[list[str]]:
    """Returns the rows of a sample; the last one is left out if a quote in it is not closed."""
    if dialect.separator == " ":
        lines = [squeeze(line) for line in lines]
    rows = []
    try:
        for row in dialect.reader([f"{line}\n" for line in lines]):
            if row:
                rows.append(row)
            if len(rows) > SAMPLE_ROWS:
                break
    except csv.Error:
        pass
    return rows[:-1] if len(rows) > 1 and any("\n" in cell for cell in rows[-1]) else rows


def _names(named: list[str], rows: list[list[str]]) -> list[str]:
    """Returns the names of a header; R does not write the name of the first column, which has the names of the rows."""
    if rows and all(len(row) == len(named) + 1 for row in rows):
        named = [*named, ""] if not any(row[-1].strip() for row in rows) else ["rownames", *named]
    names = [name or f"column_{number}" for number, name in enumerate(named, 1)]
    return ["rownames", *names[1:]] if named and not named[0] else names


def _codes(names: Sequence[str], rows: list[list[str]]) -> frozenset[str]:
    return frozenset(
        name for row in rows for name, cell in zip(names, row, strict=False) if cell and _CODE.fullmatch(cell)
    )
