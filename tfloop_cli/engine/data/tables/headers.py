"""The header of a table: how many of its first lines name or describe the columns, and the names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tfloop_cli.engine.data.tables.surroundings import is_unit, lines_below
from tfloop_cli.engine.data.tables.values import MISSING_VALUES

MAX_LINES = 4  # of a header: three levels of pandas' columns, and the names of its rows
_NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*")
_AMOUNT = re.compile(r"[^\w\s]{0,2}\d[\d.,:/TZ%+)\]\s-]*")  # a number, a date or a time: $5.30, 2024-01-05 10:30
_UNNAMED = re.compile(r"Unnamed: \d+(_level_\d+)?")  # pandas, for an empty cell of a header
_IMPORT_ID = re.compile(r'\{"ImportId":.*\}')  # the third line of an export of Qualtrics
_MISSING = frozenset(("", *(value.lower() for value in MISSING_VALUES)))


@dataclass(frozen=True)
class Header:
    """The lines of a table before its first row.

    Attributes:
        names: of the columns, "" for a column without one; () if there is no header.
        lines: their number.
        joined: how many of them, the first ones, have the names; the others describe the columns.
    """

    names: tuple[str, ...] = ()
    lines: int = 0
    joined: int = 0

    @property
    def notes(self) -> list[str]:
        """What is not usual about the header."""
        notes, below = [], self.lines - self.joined
        if self.joined > 1:
            shown = next((name for name in self.names if " " in name), self.names[-1])
            notes.append(f"the names of columns are joined from {self.joined} lines, as in `{shown}`")
        return notes + ([f"{below} line(s) below the header are no rows"] if below else [])


NO_HEADER = Header()


def find_header(
    rows: Sequence[Sequence[str]],
    targets: Sequence[str],
    given: str = "auto",
    *,
    is_tab: bool = False,
    trained: Mapping[str, Any] | None = None,
) -> Header:
    """Returns the header of a table.

    The first line is one if it has the name of a target, or if lines below it describe the columns; otherwise it is the
    first row if one of its cells is a number, or if two are equal.

    Args:
        rows: the cells of the first lines.
        targets: names of the columns to predict.
        given: what the user has set: "first_line", "two_lines", "none", or "auto".
        is_tab: whether it is a .tab file.
        trained: `Dialect.facts` of the training file, for another one: it has a header if the training file has, and
            more lines of it only if that has.
    """
    if not rows or given == "none" or (given == "auto" and trained and not trained["header"]):
        return NO_HEADER
    if given == "two_lines":
        return Header(_names(rows, min(2, len(rows)), targets), min(2, len(rows)), min(2, len(rows)))
    below = lines_below(rows, is_tab)
    has_more = given == "auto" and below < 2 and not (trained and trained.get("lines", 1) < 2)
    more = _more_lines(rows) if has_more else 0
    joined = _joined_lines(rows[: 1 + more], targets, trained)
    names = _names(rows, joined, targets)
    is_header = given == "first_line" or bool(trained) or more > 0 or any(target in names for target in targets)
    named = [name for name in names if name]
    if not is_header and (len(set(named)) < len(named) or any(map(_NUMBER.fullmatch, names))):
        return NO_HEADER
    below = 0 if more or (below == 1 and given == "first_line") else below  # 1: a line of units
    return Header(names, 1 + more + below, joined)


def _more_lines(rows: Sequence[Sequence[str]]) -> int:
    """Returns how many lines below the first one name or describe the columns too, as far as the rows show it."""
    for more in range(min(MAX_LINES, len(rows) - 1) - 1, 0, -1):
        below = rows[1 + more :]
        if any(len(row) != len(rows[0]) for row in rows[1 : 1 + more]):
            continue
        columns = [[row[place].strip() for row in below if place < len(row)] for place in range(len(rows[0]))]
        groups = _groups(rows[0], columns)
        names = _names(rows, 1 + more, ())
        if groups and len(set(names)) < len(names):
            continue
        if groups and more > 1 and _is_row_names(rows[more], columns):  # the lines above may have numbers
            return more
        if all(_is_more(rows[number], columns, groups) for number in range(1, 1 + more)):
            return (
                more if groups or (len(below) > 1 and not any(map(_AMOUNT.fullmatch, map(str.strip, rows[0])))) else 0
            )
    return 0


def _is_more(cells: Sequence[str], columns: Sequence[Sequence[str]], groups: set[int]) -> bool:
    """Whether a line has words in two columns or more in which all rows below have numbers, and none that occurs below.

    Without groups, it has a different word of several letters in each column, or units.

    Args:
        cells: of the line.
        columns: the values below the header.
        groups: the columns whose first name is that of a group; other columns count only if there are none.
    """
    cells = [cell.strip() for cell in cells]
    filled = [cell for cell in cells if cell]
    if not filled:
        return False
    if all(map(_IMPORT_ID.fullmatch, filled)):
        return True
    recurs = any(cell and cell in column for cell, column in zip(cells, columns, strict=True))
    if recurs or any(_AMOUNT.fullmatch(cell) or cell.lower() in _MISSING for cell in filled):
        return False
    measured = [place for place, column in enumerate(columns) if _is_measured(column)]
    words = [cells[place] for place in measured if cells[place] and (not groups or place in groups)]
    if groups or all(map(is_unit, words)):
        return len(words) > 1
    return 1 < len(words) == len({word for word in words if len(word) > 1}) and len(filled) == len(cells)


def _is_measured(column: Sequence[str]) -> bool:
    """Whether all values of a column are numbers, dates or times, and not all are missing."""
    values = [cell for cell in column if cell.lower() not in _MISSING]
    return bool(values) and all(map(_AMOUNT.fullmatch, values))


def _groups(first: Sequence[str], columns: Sequence[Sequence[str]]) -> set[int]:
    """Returns the columns whose name in the first line occurs twice, or is above empty cells that belong to it, too.

    The first column may have no name: that of row names.
    """
    names = [_word(cell) for cell in first]
    for place in range(1, len(names)):
        if not names[place] and any(columns[place]):
            names[place] = names[place - 1]
    return {place for place, name in enumerate(names) if name and names.count(name) > 1}


def _is_row_names(cells: Sequence[str], columns: Sequence[Sequence[str]]) -> bool:
    """Whether a line names only the first columns, those of row names, as pandas writes it below its columns."""
    count = _blank_from(cells)
    return count > 0 and any(map(_is_measured, columns[count:]))


def _blank_from(cells: Sequence[str]) -> int:
    """Returns the number of cells before the first empty one; 0 if there is none, or a word after it."""
    count = next((place for place, cell in enumerate(cells) if not cell.strip()), 0)
    return 0 if any(cell.strip() for cell in cells[count:]) else count


def _joined_lines(
    rows: Sequence[Sequence[str]], targets: Sequence[str], trained: Mapping[str, Any] | None = None
) -> int:
    """Returns how many lines of a header have the names: as many as make them distinct, or else have the targets."""
    if trained:
        return min(len(rows), max(1, trained.get("joined", 1)))
    named = [_names(rows, count, targets) for count in range(1, 1 + len(rows))]
    found = next((count for count, one in enumerate(named, 1) if len(set(one)) == len(one) and "" not in one[1:]), 1)
    if not set(targets).issubset(named[found - 1]):
        found = next((count for count, one in enumerate(named, 1) if set(targets).issubset(one)), found)
    has_row_names = 1 < found < len(rows) and _blank_from(rows[found])
    return found + bool(has_row_names)


def _names(rows: Sequence[Sequence[str]], count: int, targets: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of columns: the cells of the first `count` lines, joined; a group has the columns after it."""
    if count == 1:
        return tuple(cell if cell in targets else cell.strip() for cell in rows[0])
    levels = [[_word(cell) for cell in row] for row in rows[:count]]
    names = []
    for place in range(len(levels[0])):
        for upper, lower in pairwise(levels):
            if place and not upper[place] and lower[place] and lower[place] not in targets:
                upper[place] = upper[place - 1]
        cells = [level[place] for level in levels if place < len(level)]
        names.append(" ".join(dict.fromkeys(filter(None, cells))))
    if count > 2 and (named := _blank_from(levels[-1])):
        names[:named] = levels[-1][:named]  # pandas' names of the columns are above those of its rows
    return tuple(names)


def _word(cell: str) -> str:
    return "" if _UNNAMED.fullmatch(cell.strip()) else cell.strip()
