"""The quotation mark and the decimal mark of a file."""

import re
from collections.abc import Sequence

_POINT, _COMMA = re.compile(r"\s*[+-]?\d*\.\d+\s*"), re.compile(r"\s*[+-]?(\d{1,3}(\.\d{3})+|\d*),\d+\s*")
_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2}(,\d{3})+\s*")


def quote_mark(lines: Sequence[str], is_tsv: bool) -> str:
    """Returns the quotation mark: ", or ' if as many cells begin as end with it and none has "; in .tsv maybe none.

    In a .tsv file a quotation mark is a character, unless each cell that begins with it ends with it too.
    """
    cells = [cell.strip() for line in lines for cell in re.split(r"[\t;,|]", line)]
    opened, closed = (sum(getattr(cell, test)("'") for cell in cells) for test in ("startswith", "endswith"))
    if opened and opened == closed and not any('"' in cell for cell in cells):
        return "'"
    if is_tsv:
        cells = [cell for line in lines for cell in line.split("\t") if '"' in cell]
        if any(len(cell) < 2 or cell[0] != '"' or cell[-1] != '"' for cell in cells):
            return ""
    return '"'


def decimal_mark(rows: Sequence[Sequence[str]], separator: str, usual: str) -> str:
    """Returns "," if numbers have a comma where others have a point, and it does not only separate thousands.

    Without numbers of either kind, the mark is the `usual` one.
    """
    if separator == ",":
        return "."
    cells = [cell for row in rows for cell in row]
    commas = [cell for cell in cells if _COMMA.fullmatch(cell)]
    points = any(_POINT.fullmatch(cell) for cell in cells)
    if points or (commas and not all(map(_THOUSANDS.fullmatch, commas))):
        return "." if points else ","
    return usual
