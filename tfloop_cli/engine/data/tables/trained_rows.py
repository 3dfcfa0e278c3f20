"""Reads the rows of a split, or only those that were there at training; see `ReadFiles`."""

import os
from collections.abc import Sequence

from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.tables.csv_reading import CsvReader
from tfloop_cli.engine.data.tables.files import STDIN, find_files
from tfloop_cli.engine.data.tables.reading import Rows, read_files


def read_split(paths: str | Sequence[str], reader: CsvReader) -> Rows:
    """Reads the files of a split, see `read_rows`, without files and rows that were added after the run was trained."""
    read, files = build_context().files, find_files(paths)
    names = [file.name if file.name == STDIN else os.path.abspath(file.path) for file in files]  # noqa: PTH100
    chosen = [files[number] for number in read.choose(reader.split, names)]
    rows = read_files(chosen, reader)
    available = [part.rows for part in rows.parts]
    used = read.limit(reader.split, [file.name for file in chosen], available)
    return rows if used == available else rows.first(used)
