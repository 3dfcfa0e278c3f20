"""Reads the rows of a file one after another, so that a row that cannot be read takes no others with it.

pyarrow is faster, but an unclosed quote makes the rows after it one cell, and a byte that cannot be decoded is an error
of the whole file.
"""

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass, field

from tfloop_cli.engine.data.problems import refuse, wrong_byte
from tfloop_cli.engine.data.tables.dialect import Dialect
from tfloop_cli.engine.data.tables.files import TableFile

MAX_LINES_PER_ROW = 1000  # of a quoted cell with line breaks, so that an unclosed quote is found soon
_UNCLOSED = "check for an unclosed quote"


@dataclass
class Recovery:
    """What was found in a file.

    Attributes:
        header: the lines before the first row.
        rows: the text of each valid row.
        lines: where each of them begins, counted from 1.
        problems: line, what is wrong, and a hint, for each row that cannot be read.
        misquoted: whether pyarrow would read other rows, since a quote is not closed.
    """

    header: list[str]
    rows: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[tuple[int, str, str | None]] = field(default_factory=list)
    misquoted: bool = False

    @property
    def content(self) -> bytes:
        """Header and valid rows in UTF-8."""
        rows = [row if row.endswith(("\n", "\r")) else f"{row}\n" for row in (*self.header, *self.rows)]
        return "".join(rows).encode("utf-8", "surrogatepass")


def recover(file: TableFile, dialect: Dialect) -> Recovery:
    """Returns the valid rows of a file, and what is wrong with the others.

    Raises:
        TfloopError: the header cannot be decoded (exit code 4).
        UnicodeError: the file is not in its encoding, and has no lines that could be skipped (UTF-16).
        OSError: the file cannot be read.
    """
    lines = _Lines(file, dialect)
    try:
        found = Recovery([lines.text(number) for number in range(dialect.skipped_lines)])
    except UnicodeDecodeError as error:
        refuse(file.name, 1, wrong_byte(error))
    first = dialect.skipped_lines
    while first < len(lines):
        try:
            cells, count = lines.row(first)
            if cells == len(dialect.names):
                found.rows.append("".join(map(lines.text, range(first, first + count))))
                found.lines.append(lines.number(first))
            elif cells:
                problem = f"the row has {cells} cell(s), and the header has {len(dialect.names)} columns"
                found.problems.append((lines.number(first), problem, None))
        except UnicodeDecodeError as error:
            count = 1
            found.problems.append((lines.number(first), wrong_byte(error), "encoding"))
        except csv.Error as error:
            count, found.misquoted = 1, True
            found.problems.append((lines.number(first), f"this row cannot be read: {error}", _UNCLOSED))
        first += count
    return found


class _Lines:
    """The lines of a file, without comments.

    Args:
        file: to read.
        dialect: how it is written.
    """

    def __init__(self, file: TableFile, dialect: Dialect) -> None:
        with file.open() as stream:
            data = stream.read()
        self._dialect, self._encoding = dialect, dialect.encoding
        if codecs.lookup(dialect.encoding).name.startswith(("utf-16", "utf-32")):  # their lines end in several bytes
            data, self._encoding = data.decode(dialect.encoding).encode(), "utf-8"
        self._lines = data.removeprefix(codecs.BOM_UTF8).splitlines(keepends=True)
        comment = dialect.comment.encode()
        self._used = [number for number, line in enumerate(self._lines) if not comment or not line.startswith(comment)]

    def __len__(self) -> int:
        return len(self._used)

    def number(self, line: int) -> int:
        """Returns the number of a line in the file, counted from 1."""
        return self._used[line] + 1

    def text(self, line: int) -> str:
        """Returns a line; raises UnicodeDecodeError."""
        text = self._lines[self._used[line]].decode(self._encoding)
        return self._dialect.normal(text)

    def row(self, first: int) -> tuple[int, int]:
        """Returns the number of cells in the row at a line (0: none), and the number of its lines.

        Raises:
            csv.Error: a quote is not closed.
            UnicodeDecodeError: one of its lines cannot be decoded.
        """
        text, dialect = self.text(first), self._dialect
        if not dialect.quote or dialect.quote not in text:
            text = text.rstrip("\r\n")
            return (text.count(dialect.delimiter) + 1 if text else 0), 1
        reader = dialect.reader(self._from(first), strict=True)
        try:
            return len(next(reader)), reader.line_num
        except csv.Error as error:
            if reader.line_num > 1 or "end of data" in str(error):
                raise
        cells = next(dialect.reader([text]))  # a quote within a cell is a character, as for pyarrow
        if any("\n" in cell or "\r" in cell for cell in cells):
            raise csv.Error("a quote is not closed")
        return len(cells), 1

    def _from(self, first: int) -> Iterator[str]:
        return (self.text(line) for line in range(first, min(first + MAX_LINES_PER_ROW, len(self))))
