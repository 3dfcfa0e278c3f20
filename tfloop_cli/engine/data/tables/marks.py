"""The quotation mark and the decimal mark of a file."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest

from tfloop_cli.engine.data.tables.surroundings import CONSISTENT

_POINT, _COMMA = re.compile(r"\s*[+-]?\d*\.\d+\s*"), re.compile(r"\s*[+-]?(\d{1,3}(\.\d{3})+|\d*),\d+\s*")
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
