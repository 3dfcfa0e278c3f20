"""Rows out of .csv, .tsv and .jsonl files, and classes out of labels; what is wrong is told with its file and line."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tfloop_cli.engine.data.bad import leave_out, require_some
from tfloop_cli.errors import ExitCode, Problem, TfloopError

csv.field_size_limit(2**31 - 1)  # a text may be longer than Python's 128 KiB
_SEPARATORS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Row:
    """One example as a file holds it.

    Attributes:
        split: that the file is.
        file: as the user wrote it.
        line: where the row begins, counted from 1.
        cells: a column's name -> its text; a missing value is "".
    """

    split: str
    file: str
    line: int
    cells: dict[str, str]

    def cell(self, column: str) -> str:
        """A column's text, "" where it is missing; TfloopError if there is no such column."""
        if column not in self.cells:
            self.refuse(f"there is no column `{column}`", f"there are {', '.join(f'`{name}`' for name in self.cells)}")
        return self.cells[column]

    def refuse(self, problem: str, hint: str | None = None) -> NoReturn:
        """Raises TfloopError (exit code 4) at this row."""
        raise wrong(self.split, self.file, self.line, problem, hint)


def refuse(file: str, line: int | None, problem: str, hint: str | None = None) -> NoReturn:
    """Raises TfloopError (exit code 4) at a place in a data file."""
    raise TfloopError(problems=[Problem(problem, file, line, hint=hint)], code=ExitCode.DATA)


def wrong(split: str, file: str, line: int, problem: str, hint: str | None = None) -> TfloopError:
    """What is wrong with one example of a split (exit code 4)."""
    return TfloopError(problems=[Problem(f"split `{split}`: {problem}", file, line, hint=hint)], code=ExitCode.DATA)


def read_rows(file: str, split: str) -> Iterator[Row]:
    """Every row of a UTF-8 file: .csv and .tsv begin with the columns' names, a .jsonl line is an object.

    A row by itself that is malformed is a bad example: see `bad`.

    Raises:
        TfloopError: the file is missing, of another kind, empty or malformed (exit code 4).
    """
    path = Path(file).expanduser()
    kind = path.suffix.lower()
    if kind not in (*_SEPARATORS, ".jsonl"):
        refuse(file, None, f"`{path.suffix}` files cannot be read", hint="what can: .csv, .tsv and .jsonl")
    empty = True
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = _read_json(file, split, stream) if kind == ".jsonl" else _read_csv(file, split, stream)
            for row in rows:
                yield row
                empty = False
    except UnicodeDecodeError as error:
        refuse(file, None, f"it is not UTF-8: {error.reason}", hint="save it as UTF-8")
    except OSError as error:
        refuse(file, None, f"it cannot be read: {error.strerror or error}")
    if empty:
        require_some(split, 0)
        refuse(file, None, "there is no row in it")


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The different labels in order: by value where all are whole numbers, else by alphabet."""
    different = set(labels)
    try:
        return tuple(sorted(different, key=lambda label: (int(label), label)))
    except ValueError:
        return tuple(sorted(different))


def _read_csv(file: str, split: str, stream: Iterable[str]) -> Iterator[Row]:
    reader = csv.reader(stream, delimiter=_SEPARATORS[Path(file).suffix.lower()], strict=True)
    names: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not names:
                names = cells
                _check_names(file, line, names)
            elif len(cells) == len(names):
                yield Row(split, file, line, dict(zip(names, cells, strict=True)))
            elif cells:
                problem = f"there are {len(cells)} cells, and the header names {len(names)} columns"
                leave_out(split, wrong(split, file, line, problem))
            line = reader.line_num + 1  # where the next row begins: a quoted cell may hold line ends
    except csv.Error as error:
        refuse(file, line, f"this row cannot be read: {error}", hint="look for a quote that is not closed")


def _check_names(file: str, line: int, names: list[str]) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        refuse(file, line, f"two columns are called `{twice[0]}`", hint="the first line has to name the columns")


def _read_json(file: str, split: str, stream: Iterable[str]) -> Iterator[Row]:
    for line, text in enumerate(stream, start=1):
        if not text.strip():
            continue
        try:
            cells = _cells(split, file, line, text)
        except TfloopError as error:
            leave_out(split, error)
        else:
            yield Row(split, file, line, cells)


def _cells(split: str, file: str, line: int, text: str) -> dict[str, str]:
    """A line of JSON as a row of a table would hold it."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise wrong(split, file, line, f"this line is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise wrong(split, file, line, "this line is not a JSON object", 'write {"text": "...", "label": "..."}')
    for name, value in values.items():
        if isinstance(value, list | dict):
            raise wrong(split, file, line, f"column `{name}` holds a {type(value).__name__}, not text or a number")
    return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
