"""Formats whose files are read as a whole: one entry of `READERS` each."""

import sqlite3
from collections.abc import Callable

import pyarrow as pa
import pyarrow.orc

from tfloop_cli.engine.data.problems import refuse
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.excel_reading import read_excel
from tfloop_cli.engine.data.tables.files import TableFile
from tfloop_cli.engine.data.tables.json_reading import read_json, table_of


def read_whole(file: TableFile, options: DialectOptions) -> pa.Table:
    """Returns the rows of a file of one of the kinds of `READERS`.

    Raises:
        TfloopError: there is no table, or more than one, in the file (exit code 4).
        OSError, ArrowException, UnicodeError: the file cannot be read.
    """
    return READERS[file.kind](file, options)


def _orc(file: TableFile, options: DialectOptions) -> pa.Table:
    return pyarrow.orc.ORCFile(pa.BufferReader(file.open().read())).read()


def _sqlite(file: TableFile, options: DialectOptions) -> pa.Table:
    """Returns the only table of a SQLite database."""
    if not file.is_plain:
        refuse(file.name, None, "a compressed database cannot be read", hint="unpack it")
    try:
        with sqlite3.connect(f"{file.path.resolve().as_uri()}?mode=ro", uri=True) as database:
            database.row_factory = sqlite3.Row
            query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            tables = [name for (name,) in database.execute(query)]
            if len(tables) != 1:
                names = ", ".join(f"`{name}`" for name in tables) or "none"
                command = f'sqlite3 -header -csv {file.name} "SELECT * FROM NAME" > NAME.csv'
                refuse(file.name, None, f"a database must have one table, and this one has {names}", hint=command)
            quoted = tables[0].replace('"', '""')
            return table_of([dict(row) for row in database.execute(f'SELECT * FROM "{quoted}"')])
    except sqlite3.Error as error:
        refuse(file.name, None, f"it cannot be read: {error}")


READERS: dict[str, Callable[[TableFile, DialectOptions], pa.Table]] = {
    "json": read_json, "excel": lambda file, options: read_excel(file), "orc": _orc, "sqlite": _sqlite,
}  # fmt: skip
