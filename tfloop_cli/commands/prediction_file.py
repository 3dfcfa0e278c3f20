"""Writes predictions to a .csv, .jsonl or .parquet file while they are made; the file appears when all are written."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as arrow_parquet

from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.files import disk_errors, json_text, sync_folder

SUFFIXES = (".csv", ".jsonl", ".parquet")


def check_output(path: Path) -> None:
    """Raises TfloopError (exit code 2) unless a file of predictions can have this path."""
    if path.suffix.lower() not in SUFFIXES:
        raise TfloopError(f"`--output {path}`: unknown kind of file", hint=f"use one of {', '.join(SUFFIXES)}")
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else f"needs the folder {path.parent}, which does not exist"
        raise TfloopError(f"`--output {path}`: this {what}")


def json_rows(table: pa.Table) -> list[dict[str, object]]:
    """Returns each row as an object; `error` only where there is one."""
    rows: list[dict[str, object]] = table.to_pylist()
    for row in rows:
        if row["error"] is None:
            del row["error"]
    return rows


class PredictionFile:
    """A context that writes tables to a temporary file, and renames it at the end; without a trace after an error.

    Args:
        path: of the file; its suffix decides the format.

    Raises:
        TfloopError: the disk failed (exit code 2 or 75), or a column has changed its type (exit code 4).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._staging = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
        self._is_jsonl = path.suffix.lower() == ".jsonl"
        self._schema: pa.Schema | None = None
        self._write: Callable[[pa.Table], object]
        self._close: Callable[[], object] = lambda: None

    def __enter__(self) -> Self:
        with disk_errors(self.path):
            self._file = open(self._staging, "xb")
        return self

    def write(self, table: pa.Table) -> None:
        """Writes some rows; all tables have the columns of the first one."""
        with disk_errors(self.path):
            if self._schema is None:
                self._open(table.schema)
            self._write(table if self._is_jsonl else self._like_the_first(table))

    def _open(self, schema: pa.Schema) -> None:
        self._schema = schema
        if self._is_jsonl:
            self._write = lambda table: self._file.writelines(
                f"{json_text(row)}\n".encode() for row in json_rows(table)
            )
            return
        is_csv = self.path.suffix.lower() == ".csv"
        writer = (arrow_csv.CSVWriter if is_csv else arrow_parquet.ParquetWriter)(self._file, schema)
        self._write, self._close = writer.write_table, writer.close

    def _like_the_first(self, table: pa.Table) -> pa.Table:
        if table.schema == self._schema:
            return table
        try:
            return table.cast(self._schema)
        except pa.ArrowInvalid as error:
            problem = f"a kept column does not have one type: {error}"
            raise TfloopError(problem, hint="write a .jsonl file", code=ExitCode.DATA) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                with suppress(OSError, pa.ArrowException):
                    self._close()
            else:
                with disk_errors(self.path):
                    self._close()
                    self._file.flush()
                    os.fsync(self._file.fileno())
                    os.replace(self._staging, self.path)
                    sync_folder(self.path.parent)
        finally:
            self._staging.unlink(missing_ok=True)
            self._file.close()
