"""Reads JSON: an array of objects, or one object per line."""

import codecs
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.json as arrow_json

from tfloop_cli.engine.data.invalid_examples import skip_example
from tfloop_cli.engine.data.problems import invalid_row, refuse, wrong_byte
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.files import TableFile

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
BLOCK = 2**24  # bytes; a line must fit in a block of pyarrow


def read_json_lines(
    file: TableFile, split: str, options: DialectOptions
) -> tuple[pa.Table, Callable[[], Iterable[int]]]:
    """Returns one row per line, which is an object, and the lines; a key that a line does not have is a missing value.

    A line that is no object is an invalid example, and so is a list or an object where other lines have a single value.

    Raises:
        TfloopError: see `skip_example`.
        UnicodeError: the file is not in the encoding of `options`.
        OSError: the file cannot be read.
    """
    try:
        read = arrow_json.ReadOptions(block_size=BLOCK)
        is_utf8 = options.encoding == "auto" and not file.head(2).startswith(UTF16_MARKS)
        stream = file.open() if is_utf8 else pa.py_buffer(_utf8(file, options))
        table = arrow_json.read_json(stream, read_options=read)
        table.validate(full=True)  # the texts are UTF-8
        if not options.free_text or not any(pa.types.is_timestamp(one.type) for one in table.schema):
            return table, lambda: (line for line, _ in json_records(file, "", options))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # its message has no line; each key must have one type
        pass
    records = _regular(list(json_records(file, split, options)), file, split)
    return table_of([cells for _, cells in records]), lambda: (line for line, _ in records)


def json_records(file: TableFile, split: str, options: DialectOptions) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the line (counted from 1) and the object of each valid line.

    Args:
        file: to read.
        split: its name, for the error of an invalid line; "": such lines are skipped, and not counted.
        options: what the user has set.
    """
    for number, line in enumerate(_utf8(file, options).split(b"\n"), 1):
        if not line.strip():
            continue
        hint = None
        try:
            cells = json.loads(line.decode())
            problem = "" if isinstance(cells, dict) else "this line is not a JSON object"
        except UnicodeDecodeError as error:
            problem, hint = wrong_byte(error), options.hint("encoding")
        except (ValueError, RecursionError) as error:
            problem = f"this line is not JSON: {error}"
        if not problem:
            yield number, cells
        elif split:
            skip_example(split, invalid_row(split, file.name, number, problem, hint))


def read_json_array(file: TableFile, options: DialectOptions) -> pa.Table:
    """Returns one row per object of an array; a key that an object does not have is a missing value.

    Raises:
        TfloopError: it is no array of objects, nor in another layout of pandas, see `objects_of` (exit code 4).
        UnicodeError: the file is not in the encoding of `options`.
        OSError: the file cannot be read.
    """
    try:
        objects = objects_of(json.loads(_utf8(file, options)))
    except json.JSONDecodeError as error:
        refuse(file.name, error.lineno, f"it is not JSON: {error.msg}", hint="one object per line belongs in .jsonl")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        refuse(file.name, line, wrong_byte(error), options.hint("encoding"))
    except (ValueError, RecursionError) as error:
        refuse(file.name, None, f"it is not JSON: {error}")
    if objects is None:
        refuse(file.name, None, "it is not an array of objects", hint='write [{"age": 31, "kind": "a"}, ...]')
    return table_of(objects)


def objects_of(content: Any) -> list[dict[str, Any]] | None:
    """Returns the rows of a table as objects: an array of them, or what `to_json` of pandas writes; None for no table.

    Its layouts: `columns` (the default): name -> row number -> value; `index`: row number -> name -> value; `split`:
    {columns, index, data}; `table`: {schema, data}. Also name -> array of the values of a column.
    """
    if isinstance(content, list):
        return content if all(isinstance(one, dict) for one in content) else None
    if not isinstance(content, dict) or not content:
        return None
    names, data = content.get("columns"), content.get("data")
    if isinstance(data, list) and isinstance(names, list) and all(isinstance(row, list) for row in data):
        return [dict(zip(map(str, names), row, strict=False)) for row in data]
    if isinstance(data, list) and len(content) <= 2 and all(isinstance(row, dict) for row in data):
        return data
    columns = list(content.values())
    if all(isinstance(one, list) for one in columns) and len({len(one) for one in columns}) == 1:
        return [dict(zip(content, row, strict=True)) for row in zip(*columns, strict=True)]
    if not all(isinstance(one, dict) for one in columns):
        return None
    keys = dict.fromkeys(key for one in columns for key in one)
    if all(map(str.isdecimal, keys)):
        return [{name: one.get(key) for name, one in content.items()} for key in keys]
    return columns if all(map(str.isdecimal, content)) else None


def to_utf8(content: bytes, encoding: str) -> bytes:
    """Returns the content of a file without byte order mark, in UTF-8 unless it is invalid.

    Args:
        content: of the file.
        encoding: "auto": UTF-8, or UTF-16 with a byte order mark.

    Raises:
        UnicodeError: it is in another encoding.
    """
    if encoding == "auto":
        encoding = "utf-16" if content.startswith(UTF16_MARKS) else "utf-8"
    if codecs.lookup(encoding).name != "utf-8":
        content = content.decode(encoding).encode()
    return content.removeprefix(codecs.BOM_UTF8)


def _utf8(file: TableFile, options: DialectOptions) -> bytes:
    with file.open() as stream:
        return to_utf8(stream.read(), options.encoding)


def _regular(
    records: list[tuple[int, dict[str, Any]]], file: TableFile, split: str
) -> Sequence[tuple[int, dict[str, Any]]]:
    """Leaves out rows with a list or an object in a column where other rows have text or a number."""
    kinds: dict[str, set[bool]] = {}
    for _, cells in records:
        for name, value in cells.items():
            if value is not None:
                kinds.setdefault(name, set()).add(isinstance(value, list | dict))
    mixed = [name for name, kind in kinds.items() if len(kind) > 1]
    if not mixed:
        return records
    kept = []
    for line, cells in records:
        nested = next((name for name in mixed if isinstance(cells.get(name), list | dict)), None)
        if nested is None:
            kept.append((line, cells))
        else:
            problem = f"column `{nested}` is a {type(cells[nested]).__name__}, not text or a number"
            skip_example(split, invalid_row(split, file.name, line, problem))
    return kept


def table_of(objects: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Returns one row per object; a key that an object does not have is a missing value."""
    names = dict.fromkeys(name for cells in objects for name in cells)
    return pa.table({name: _column([cells.get(name) for cells in objects]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    """Returns a column; of text if its values have several types."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([value if value is None or isinstance(value, str) else json.dumps(value) for value in values])
