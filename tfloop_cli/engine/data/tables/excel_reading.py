"""Reads the first sheet of .xlsx, .xlsm, .xls and .ods files with python-calamine, which is an extra."""

import datetime
import importlib
from types import ModuleType
from typing import Any

import pyarrow as pa

from tfloop_cli.engine.data.problems import refuse
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.files import TableFile
from tfloop_cli.engine.data.tables.headers import Header, find_header
from tfloop_cli.engine.data.tables.surroundings import MAX_PREAMBLE

PACKAGE = "python-calamine"
ABOVE, HEADER, NOTES, MERGED = (
    "lines above",
    "header lines",
    "header notes",
    "merged cells",
)  # keys of the metadata of a table
_TRIED = 1000  # rows that show what the header is


def read_excel(file: TableFile, options: DialectOptions) -> pa.Table:
    """Returns one row per row of the first sheet; the first one, below a title, has the names of the columns.

    A column whose values have several types becomes text. An empty cell is a missing value. The metadata of the table
    have `ABOVE`, how many lines there are above its header, `HEADER`, how many lines that has, `NOTES` about it, and
    `MERGED`, the number of cells that are merged across rows. If the header is set, there is no title.

    Raises:
        TfloopError: python-calamine is not installed, or the file cannot be read (exit code 4).
    """
    sheet = _workbook(file).get_sheet_by_index(0)
    rows = sheet.to_python(skip_empty_area=True)
    if not rows:
        refuse(file.name, None, "its first sheet is empty")
    above = _lines_above(rows) if options.header == "auto" else 0
    header = _header(rows[above : above + _TRIED], options.header)
    merged = _fill_merged(sheet, rows, above + header.lines)
    body = rows[above + header.lines :]
    names = [name or f"column_{number}" for number, name in enumerate(header.names or [""] * len(rows[0]), 1)]
    columns = [_column([row[number] for row in body]) for number in range(len(names))]
    found = {ABOVE: str(above), HEADER: str(header.lines), NOTES: "\n".join(header.notes), MERGED: str(merged)}
    return pa.Table.from_arrays(columns, names).replace_schema_metadata(found)


def _fill_merged(sheet: Any, rows: list[list[Any]], first: int) -> int:
    """Gives each row of cells that are merged across rows their value, from row `first` on; returns their number."""
    top, left = sheet.start or (0, 0)
    found = 0
    for (start, column), (end, _) in getattr(sheet, "merged_cell_ranges", None) or ():
        start, end, column = start - top, min(end - top, len(rows) - 1), column - left
        if end > start >= first and 0 <= column < len(rows[start]) and rows[start][column] != "":
            found += 1
            for row in rows[start + 1 : end + 1]:
                row[column] = rows[start][column]
    return found


def _header(rows: list[list[Any]], given: str) -> Header:
    """Returns the header of a sheet: its first line, unless lines below it belong to it, too, or `header` is set."""
    cells = [[_text(cell) for cell in row] for row in rows]
    found = find_header(cells, (), given)
    return found if found.lines or given == "none" else find_header(cells, (), "first_line")


def _lines_above(rows: list[list[Any]]) -> int:
    """Returns the number of lines above the header, such as a title: fewer than half of their cells have a value."""
    filled = [sum(cell != "" for cell in row) for row in rows]
    usual = sorted(filled)[len(filled) // 2]
    first = next((number for number, count in enumerate(filled) if 2 * count > usual), 0)
    if first and filled[first - 1] > 1 and len(set(map(_text, rows[first]))) < len(rows[first]):
        first -= 1  # names of groups
    return first if first <= MAX_PREAMBLE and first < len(rows) // 2 else 0


def excel_notes(file: TableFile) -> list[str]:
    """Returns a note about the sheets that are not used."""
    used, *others = _workbook(file).sheet_names
    names = ", ".join(f"`{name}`" for name in others)
    return [f"{file.name}: only the first sheet, `{used}`, is used, not {names}"] if others else []


def _workbook(file: TableFile) -> Any:
    calamine = _calamine(file)
    try:
        return calamine.CalamineWorkbook.from_path(str(file.path))
    except (calamine.CalamineError, calamine.PasswordError, calamine.ZipError, calamine.XmlError, OSError) as error:
        refuse(file.name, None, f"it cannot be read: {error}")


def _calamine(file: TableFile) -> ModuleType:
    try:
        return importlib.import_module("python_calamine")
    except ImportError:
        refuse(file.name, None, f"it needs the package {PACKAGE}: `pip install {PACKAGE}`")


def _column(cells: list[Any]) -> pa.Array:
    """Returns a column; whole numbers are integers if all numbers of the column are whole."""
    values = [None if cell == "" else cell for cell in cells]
    kinds = {type(value) for value in values if value is not None}
    if kinds and kinds <= {int, float}:
        whole = all(float(value).is_integer() for value in values if value is not None)
        return pa.array([value if value is None else (int if whole else float)(value) for value in values])
    if kinds == {datetime.date, datetime.datetime}:
        return pa.array([_time(value) for value in values])
    if len(kinds) > 1:
        return pa.array([None if value is None else _text(value) for value in values])
    return pa.array(values)


def _time(value: datetime.date | None) -> datetime.datetime | None:
    if value is None or isinstance(value, datetime.datetime):
        return value
    return datetime.datetime.combine(value, datetime.time())


def _text(value: Any) -> str:
    """Returns a cell as it is shown; a whole number without a decimal point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
