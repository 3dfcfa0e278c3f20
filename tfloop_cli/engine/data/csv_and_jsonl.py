"""Reads rows of .csv, .tsv and .jsonl files, and classes from labels; errors have file and line."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tfloop_cli.config.suggestions import nearest
from tfloop_cli.engine.data.invalid_examples import require_valid_examples, skip_example
from tfloop_cli.errors import ExitCode, Problem, TfloopError, short_path

csv.field_size_limit(2**31 - 1)  # Python's default limit is 128 KiB
_SEPARATORS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Row:
    """One example of a file.

    Attributes:
        split: the split that the file contains.
        file: the path as messages show it.
        line: where the row begins, counted from 1.
        cells: name of a column -> its text; a missing value is "".
    """

    split: str
    file: str
    line: int
    cells: dict[str, str]

    def cell(self, column: str) -> str:
        """Returns the text of a column, "" if it is missing; raises TfloopError if there is no such column."""
        if column not in self.cells:
            self.refuse(f"there is no column `{column}`", nearest(column, self.cells, "the columns are"))
        return self.cells[column]

    def refuse(self, problem: str, hint: str | None = None) -> NoReturn:
        """Raises TfloopError (exit code 4) at this row."""
        raise invalid_row(self.split, self.file, self.line, problem, hint)


def refuse(file: str, line: int | None, problem: str, hint: str | None = None) -> NoReturn:
    """Raises TfloopError (exit code 4) at a place in a data file."""
    raise TfloopError(problems=[Problem(problem, file, line, hint=hint)], code=ExitCode.DATA)


def invalid_row(split: str, file: str, line: int, problem: str, hint: str | None = None) -> TfloopError:
    """Returns the error for an invalid example of a split (exit code 4)."""
    return TfloopError(problems=[Problem(f"split `{split}`: {problem}", file, line, hint=hint)], code=ExitCode.DATA)


def read_rows(path: Path, split: str) -> Iterator[Row]:
    """Yields the rows of a UTF-8 file. A .csv or .tsv file begins with the column names; a .jsonl line is an object.

    A single malformed row is an invalid example; see `invalid_examples`.

    Raises:
        TfloopError: the file is missing, of another type, empty or malformed (exit code 4).
    """
    file, kind = short_path(path), path.suffix.lower()
    if kind not in (*_SEPARATORS, ".jsonl"):
        refuse(file, None, f"`{path.suffix}` files cannot be read", hint="supported: .csv, .tsv and .jsonl")
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
        require_valid_examples(split, 0)
        refuse(file, None, "it has no rows")


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Returns the distinct labels in order: by value if all are whole numbers, else alphabetically."""
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
                problem = f"the row has {len(cells)} cell(s), and the header has {len(names)} columns"
                skip_example(split, invalid_row(split, file, line, problem))
            line = reader.line_num + 1  # where the next row begins: a quoted cell may contain line breaks
    except csv.Error as error:
        refuse(file, line, f"this row cannot be read: {error}", hint="check for an unclosed quote")


def _check_names(file: str, line: int, names: list[str]) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        refuse(
            file, line, f"two columns are called `{twice[0]}`", hint="the first line must contain distinct column names"
        )


def _read_json(file: str, split: str, stream: Iterable[str]) -> Iterator[Row]:
    for line, text in enumerate(stream, start=1):
        if not text.strip():
            continue
        try:
            cells = _cells(split, file, line, text)
        except TfloopError as error:
            skip_example(split, error)
        else:
            yield Row(split, file, line, cells)


def _cells(split: str, file: str, line: int, text: str) -> dict[str, str]:
    """Returns a line of JSON as the cells of a row."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid_row(split, file, line, f"this line is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise invalid_row(split, file, line, "this line is not a JSON object", 'write {"text": "...", "label": "..."}')
    for name, value in values.items():
        if isinstance(value, list | dict):
            raise invalid_row(split, file, line, f"column `{name}` is a {type(value).__name__}, not text or a number")
    return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
