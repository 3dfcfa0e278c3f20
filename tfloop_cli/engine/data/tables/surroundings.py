"""Lines of a file that are no rows of the table: above the header, below it, totals, and the header of ARFF files."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

MAX_PREAMBLE = 20  # lines above a table, such as a title
CONSISTENT = 0.95  # fraction of the rows with as many cells as the others
_TYPES = {"continuous", "discrete", "string", "time", "basket"}  # in the second line of Orange's files
_LETTERS = {"c", "d", "s", "t"}  # the same in .tab files; elsewhere they may be the values of a row
_ROLE = re.compile(r"|class|meta|ignore|weight|[cmiw]|([^\s=]+=\S* ?)+")  # in the third line; empty for an input
_UNIT = re.compile(
    r"[(\[](?![^a-zA-Z%°$€£]*[)\]]).{1,20}[)\]]|%|[$€£]|°[CF]|[kcm]?m[²³23]?|[km]?g|lbs?|m?s|min|h|hours?|days?|years?|"
    r"usd|eur|gbp|USD|EUR|GBP|CHF|JPY|km/h|mph|m/s|[kM]?W|kWh|[mk]?V|[kM]?Hz|[kM]?Pa|hPa|mbar|mg/d?l|mmol/l|cl|ml|l|"
    r"[Dd]eg(rees?)?\.?( ?[CFK])?|W/m\^?2|[kcm]?m\^[23]|inch(es)?|ft|feet|miles?|oz|ppm|ppb|bar|psi|dB|rpm|lux"
)  # of a column, in the line below the header
_TOTALS = {  # word -> whether numbers beside it are means of the others, and no sums
    "total": False, "totals": False, "grand total": False, "sum": False, "average": True, "mean": True,
}  # fmt: skip
_NUMBER = re.compile(r"[^\w\s]?[+-]?\d[\d.,]*%?")
NAMELESS = "(no word)"
WORDS = pa.dictionary(pa.int32(), pa.string())
MIN_ROWS = 5  # of a table with a total
NEARLY = 0.005  # the largest relative error of a total
_ATTRIBUTE = re.compile(r"@attribute\s+('(?:[^'\\]|\\.)*'|\"[^\"]*\"|\S+)\s", re.I)


def lines_above(rows: Sequence[Sequence[str]], targets: Sequence[str]) -> int | None:
    """Returns the number of lines above a table: at most 20 with other numbers of cells than nearly all others have.

    A line with the name of a target is the header, and one with a cell less than the rows can be.

    Args:
        rows: the cells of each line, if one separator is right; none of an empty line.
        targets: names of the columns to predict.

    Returns:
        None if most lines have different numbers of cells, or fewer than 3.
    """
    counts = Counter(len(row) for row in rows[MAX_PREAMBLE:] or rows[1:] if row)
    cells = counts.most_common(1)[0][0] if counts else 0
    above = next((number for number, row in enumerate(rows) if cells - 1 <= len(row) <= cells), 0)
    below = [row for row in rows[above:] if row]
    if cells <= 2 or sum(len(row) == cells for row in below[1:]) < CONSISTENT * len(below[1:]):
        return None
    if not any(rows[:above]) or not above <= MAX_PREAMBLE < len(rows):
        return 0
    named = any(target == cell.strip() for row in rows[:above] for cell in row for target in targets)
    return 0 if named else above


def lines_below(rows: Sequence[Sequence[str]], is_tab: bool) -> int:
    """Returns the number of lines below the header that describe the columns: 2 in files of Orange, 1 of units, else 0.

    Args:
        rows: the first rows of the file, the header first.
        is_tab: whether it is a .tab file.
    """
    known_types = _TYPES | _LETTERS if is_tab else _TYPES
    if len(rows) < 3 or len(rows[1]) != len(rows[0]):
        return 0
    units = ["" if cell.strip("[()] ") == "-" else cell.strip() for cell in rows[1]]
    if any(units) and all(not unit or is_unit(unit) for unit in units):
        measured = [cell for unit, cell in zip(units, rows[2], strict=False) if unit and cell.strip()]
        return 1 if measured and all(map(_is_number, measured)) else 0
    types, roles = ([cell.strip().lower() for cell in row] for row in rows[1:3])
    known = sum(cell in known_types for cell in types)
    # A discrete column may have its values instead, with spaces between them.
    described = known and all(cell in known_types or " " in cell or not cell for cell in types)
    return 2 if described and 2 * known >= len(types) and all(map(_ROLE.fullmatch, roles)) else 0


def is_unit(cell: str) -> bool:
    """Whether a cell is a unit, such as kg, (USD) or %."""
    return _UNIT.fullmatch(cell) is not None


def is_arff(sample: bytes) -> bool:
    """Whether a file is an ARFF file, by its first line that is no comment."""
    return re.match(rb"\s*(%[^\n]*\n\s*)*@relation\b", sample.removeprefix(b"\xef\xbb\xbf"), re.I) is not None


def arff_header(lines: Sequence[str]) -> tuple[list[str], int]:
    """Returns the names of the columns of an ARFF file, and the number of lines before its first row."""
    names: list[str] = []
    for number, line in enumerate(lines, 1):
        if found := _ATTRIBUTE.match(line.strip()):
            name = found[1]
            names.append(re.sub(r"\\(.)", r"\1", name[1:-1]) if name[0] in "'\"" else name)
        if line.strip().lower() == "@data":
            return names, number
    return [], len(lines)


def total_row(table: pa.Table, decimal: str = ".") -> str | None:
    """Returns the word in the last row of a table that makes it a total of the others; None if it is a row.

    The word occurs in no other row of its column, and another cell of the row is the sum, or the mean, of its column:
    `sum` may also be the value of a row.

    Args:
        table: the rows of a file.
        decimal: the decimal mark of numbers that are texts.
    """
    if table.num_rows < MIN_ROWS:
        return None
    last = table.slice(table.num_rows - 1).to_pylist()[0]
    for name, value in last.items():
        if _is_nameless_total(table, name, last, decimal):
            return NAMELESS
        word = value.strip().rstrip(":").lower() if isinstance(value, str) else ""
        if word not in _TOTALS or pc.sum(pc.equal(table.column(name).cast(pa.string()), value)).as_py() != 1:
            continue
        numbers = [table.column(other) for other in last if _is_number(last[other])]
        if any(_is_total(one, _TOTALS[word], decimal) and _shows_total(one, _TOTALS[word], decimal) for one in numbers):
            return str(value)
    return None


def _is_nameless_total(table: pa.Table, name: str, last: Mapping[str, object], decimal: str) -> bool:
    """Whether the last row has no word in a column of words, and is sums of its columns, two of which show it."""
    column = table.column(name)
    if last[name] not in ("", None) or name != table.column_names[0] or column.type not in (pa.string(), WORDS):
        return False
    cells = {other: cell for other, cell in last.items() if cell not in ("", None)}
    is_empty = pc.fill_null(pc.equal(column.cast(pa.string()), ""), True)
    return (
        len(cells) > 1
        and pc.sum(is_empty).as_py() == 1
        and all(_is_number(cell) and _is_total(table.column(other), False, decimal) for other, cell in cells.items())
        and sum(_shows_total(table.column(other), False, decimal) for other in cells) > 1
    )


def _shows_total(column: pa.ChunkedArray, is_mean: bool, decimal: str) -> bool:
    """Whether a total is no likely value of a row, as 0 is, the mean of equal values, and the sum of only one."""
    *values, last = (_number(value, decimal) for value in column.to_pylist())
    known = [number for number in values if number is not None]
    return len(set(known)) > 1 if is_mean else bool(last) and sum(number != 0 for number in known) > 1


def _is_total(column: pa.ChunkedArray, is_mean: bool, decimal: str) -> bool:
    """Whether the last value of a column is the sum, or the mean, of the others; missing values do not count."""
    *values, last = (_number(value, decimal) for value in column.to_pylist())
    numbers = [value for value in values if value is not None]
    if last is None or not numbers:
        return False
    return math.isclose(last, math.fsum(numbers) / (len(numbers) if is_mean else 1), rel_tol=NEARLY)


def _number(value: object, decimal: str) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str) or not _is_number(value):
        return None
    text = re.sub(rf"[^\d{re.escape(decimal)}-]", "", value).replace(decimal, ".")
    try:
        return float(text)
    except ValueError:
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value.strip()) is not None)
