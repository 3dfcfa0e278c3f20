"""Reads JSON: an array of objects, or one object per line."""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.json as arrow_json

from tfloop_cli.engine.data.csv_and_jsonl import invalid_row, refuse
from tfloop_cli.engine.data.invalid_examples import skip_example
from tfloop_cli.engine.data.tables.files import TableFile


def read_json_lines(file: TableFile, split: str) -> pa.Table:
    """Returns one row per line, which is an object; a key that a line does not have is a missing value.

    A line that is no object is an invalid example.

    Raises:
        TfloopError: the file is not UTF-8 (exit code 4); see `skip_example`.
        OSError: the file cannot be read.
    """
    try:
        with file.open() as stream:
            return arrow_json.read_json(stream)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # its message has no line; each key must have one type
        return _table([cells for _, cells in json_records(file, split)])


def json_records(file: TableFile, split: str = "") -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the line (counted from 1) and the object of each valid line.

    Args:
        file: to read.
        split: its name, for the error of an invalid line; "": such lines are skipped, and not counted.
    """
    with file.open() as stream:
        for number, line in enumerate(stream.read().split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                cells = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
                problem = "" if isinstance(cells, dict) else "this line is not a JSON object"
            except UnicodeDecodeError as error:
                problem = f"this line is not UTF-8: {error.reason}"
            except (ValueError, RecursionError) as error:
                problem = f"this line is not JSON: {error}"
            if not problem:
                yield number, cells
            elif split:
                skip_example(split, invalid_row(split, file.name, number, problem))


def read_json_array(file: TableFile) -> pa.Table:
    """Returns one row per object of an array; a key that an object does not have is a missing value.

    Raises:
        TfloopError: it is no array of objects (exit code 4).
        OSError: the file cannot be read.
    """
    try:
        with file.open() as stream:
            objects = json.loads(stream.read())
    except json.JSONDecodeError as error:
        refuse(file.name, error.lineno, f"it is not JSON: {error.msg}", hint="one object per line belongs in .jsonl")
    except (ValueError, RecursionError) as error:
        refuse(file.name, None, f"it is not JSON: {error}")
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        refuse(file.name, None, "it is not an array of objects", hint='write [{"age": 31, "kind": "a"}, ...]')
    return _table(objects)


def _table(objects: list[dict[str, Any]]) -> pa.Table:
    names = dict.fromkeys(name for cells in objects for name in cells)
    return pa.table({name: _column([cells.get(name) for cells in objects]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    """Returns a column; of text if its values have several types."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([value if value is None or isinstance(value, str) else json.dumps(value) for value in values])
