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
from tfloop_cli.engine.data.tables.json_forms import objects_of

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
HEAD_BYTES = 2**16
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


def is_json_lines(file: TableFile, options: DialectOptions) -> bool:
    """Whether a .json file has one object per line: its first line is an object, and another one follows."""
    first, _, rest = to_utf8(file.head(HEAD_BYTES), options.encoding).lstrip().partition(b"\n")
    if not rest and first.startswith(b"{"):  # a long line
        with file.open() as stream:
            first, _, rest = to_utf8(stream.read(), options.encoding).lstrip().partition(b"\n")
    try:
        return rest.lstrip().startswith(b"{") and isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def read_json(file: TableFile, options: DialectOptions) -> pa.Table:
    """Returns the rows of a .json file; see `objects_of`. A key that an object does not have is a missing value.

    Raises:
        TfloopError: there are no rows in it (exit code 4).
        UnicodeError: the file is not in the encoding of `options`.
        OSError: the file cannot be read.
    """
    try:
        document = json.loads(_utf8(file, options))
    except json.JSONDecodeError as error:
        starts = error.doc.lstrip()[:1] in ("{", "[")
        hint = "one object per line belongs in .jsonl" if starts else "a file of separated values is called .csv"
        refuse(file.name, error.lineno, f"it is not JSON: {error.msg}", hint=hint)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        refuse(file.name, line, wrong_byte(error), options.hint("encoding"))
    except (ValueError, RecursionError) as error:
        refuse(file.name, None, f"it is not JSON: {error}")
    if (objects := objects_of(document)) is None:
        forms = 'write [{"age": 31, "kind": "a"}, ...], or {"age": [31, ...], "kind": ["a", ...]}'
        refuse(file.name, None, f"there are no rows in it: it is {_outline(document)}", hint=forms)
    return table_of(objects)


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


def _outline(document: Any) -> str:
    """Returns what a document is, in words."""
    if isinstance(document, dict):
        keys = ", ".join(f"`{key}`" for key in list(document)[:5])
        return f"an object with the keys {keys}{', ...' if len(document) > 5 else ''}" if document else "empty"
    return "a list of other values than objects" if isinstance(document, list) else "a single value"


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
