"""The quotation mark and the decimal mark of a file, and columns that have another one."""

import csv
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import pyarrow as pa
import pyarrow.compute as pc

from tfloop_cli.engine.data.tables.surroundings import CONSISTENT

_POINT, _COMMA = re.compile(r"\s*[+-]?\d*\.\d+\s*"), re.compile(r"\s*[+-]?(\d{1,3}(\.\d{3})+|\d*),\d+\s*")
_WHOLE = re.compile(r"\s*[+-]?\d+\s*")
_THOUSANDS, _GROUPS = (re.compile(rf"\s*[+-]?[1-9]\d{{0,2}}({mark}\d{{3}})+\s*") for mark in (",", r"\."))


def quote_mark(lines: Sequence[str], is_tsv: bool, usual: str | None = None) -> str:
    """Returns the quotation mark: ", or ' if as many cells begin as end with it and none has "; in .tsv maybe none.

    In a .tsv file a quotation mark is a character, unless each cell that begins with it ends with it too. A small file
    may leave that open: if `usual`, that of the training file, is ", then ' is a character, and if it is "", both are.
    """
    if is_tsv and usual == "":
        return ""
    cells = [cell.strip() for line in lines for cell in re.split(r"[\t;,|]", line)]
    opened, closed = (sum(getattr(cell, test)("'") for cell in cells) for test in ("startswith", "endswith"))
    if opened and opened == closed and usual != '"' and not any('"' in cell for cell in cells):
        return "'"
    return "" if is_tsv and not _are_quoted(lines) else '"'


def _are_quoted(lines: Sequence[str]) -> bool:
    """Whether each cell that begins with " ends with it, and tabs separate as many cells in nearly all rows."""
    reader = csv.reader([f"{line}\n" for line in lines], delimiter="\t", strict=True)
    sizes, read = Counter[int](), 0
    try:
        for row in reader:
            sizes[len(row)] += bool(row)
            read = reader.line_num
    except csv.Error:
        if len(lines) - read > len(lines) // 20:
            return False
    return max(sizes.values(), default=0) >= CONSISTENT * sizes.total()


def decimal_mark(rows: Sequence[Sequence[str]], separator: str, usual: str | None) -> str:
    """Returns "," if numbers have a comma where others have a point, and it does not only separate thousands.

    Then a point may separate thousands. Without numbers of either kind, the mark is the `usual` one, that of training.
    Where commas separate cells, quoted cells of the training file show it, if no number has a point, and in no column
    commas only separate thousands.
    """
    cells = [cell for row in rows for cell in row]
    commas = [cell for cell in cells if _COMMA.fullmatch(cell)]
    points = [cell for cell in cells if _POINT.fullmatch(cell)]
    if separator == "," and (points or not commas or usual or _has_thousands(rows)):
        return "." if points else usual or "."
    usual = usual or "."
    if commas and not all(map(_THOUSANDS.fullmatch, commas)) and all(map(_GROUPS.fullmatch, points)):
        return ","
    return "." if points and not (usual == "," and all(map(_GROUPS.fullmatch, points))) else usual


def _has_thousands(rows: Sequence[Sequence[str]]) -> bool:
    """Whether commas only separate thousands in some column: then 1,2 in another one is no number."""
    for column in zip_longest(*rows, fillvalue=""):
        commas = [cell for cell in column if _COMMA.fullmatch(cell)]
        if commas and all(map(_THOUSANDS.fullmatch, commas)):
            return True
    return False


@dataclass(frozen=True)
class Marks:
    """The columns of a file whose decimal marks are not all the same.

    Attributes:
        commas: columns with a decimal comma, where others have a decimal point.
        doubtful: name of a column that may have either mark -> what is in it.
    """

    commas: frozenset[str] = frozenset()
    doubtful: Mapping[str, str] = field(default_factory=dict)


NO_MARKS = Marks()


def marks_of(names: Sequence[str], rows: Sequence[Sequence[str]], given: Mapping[str, str]) -> Marks:
    """Returns which columns have a decimal comma in a file in which others have a decimal point.

    Args:
        names: of the columns.
        rows: the first rows of the file, as text; commas do not separate their cells.
        given: the marks that the user has set, by column.
    """
    commas = {name for name, mark in given.items() if mark == ","}
    both, opened, has_points = dict[str, str](), dict[str, str](), "." in given.values()
    for name, column in zip(names, zip_longest(*rows, fillvalue=""), strict=False):
        cells = [cell.strip() for cell in column if cell.strip()]
        kinds = list(map(_mark, cells))
        found = dict(zip(kinds, cells, strict=True))
        if name in given or kinds.count("other") > (1 - CONSISTENT) * len(cells):
            continue
        if "comma" in found and "point" in found:
            both[name] = f"a decimal comma (`{found['comma']}`) and a decimal point (`{found['point']}`)"
        elif "comma" in found:
            commas.add(name)
        elif "point" in found:
            has_points = True
        elif "open" in found:
            opened[name] = found["open"]
    differ = not has_points and len({"," in cell for cell in opened.values()}) > 1
    is_mixed = bool(given) or differ or (has_points and bool(commas))
    doubt = "which may be thousands or a fraction, as other columns have the other mark"
    return Marks(frozenset(commas), both | {name: f"`{cell}`, {doubt}" for name, cell in opened.items() if is_mixed})


def _mark(cell: str) -> str:
    """Returns what a number shows of its decimal mark: "point", "comma", "none"; "open" for 1,234; else "other"."""
    if _THOUSANDS.fullmatch(cell) or _GROUPS.fullmatch(cell):
        return "open" if len(re.findall(r"[.,]", cell)) == 1 else "none"
    if _POINT.fullmatch(cell):
        return "point"
    return "comma" if _COMMA.fullmatch(cell) else "none" if _WHOLE.fullmatch(cell) else "other"


def with_points(table: pa.Table, names: Collection[str]) -> pa.Table:
    """Returns a table in which the numbers of some columns, which are text, have a point instead of a decimal comma."""
    for place, name in enumerate(table.column_names):
        kind = table.column(name).type
        if name not in names or not (pa.types.is_string(kind) or pa.types.is_dictionary(kind)):
            continue
        texts = table.column(name).cast(pa.string())
        is_number = pc.match_substring_regex(texts, r"^\s*[+-]?(\d{1,3}(\.\d{3})+(,\d+)?|\d*,\d+)\s*$")
        points = pc.replace_substring(pc.replace_substring(texts, ".", ""), ",", ".")
        table = table.set_column(place, name, pc.if_else(is_number, points, texts))
    return table
