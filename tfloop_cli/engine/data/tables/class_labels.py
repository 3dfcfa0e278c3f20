"""The names of classes that are numbers in a file, where Hugging Face's description of the data set has them.

It is in the metadata of .parquet and Arrow files, in `dataset_info.json`, or at the top of `README.md`, in the folder
of the file or the one above.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from tfloop_cli.engine.data.tables.files import TableFile

INFO, CARD = "dataset_info.json", "README.md"
MAX_BYTES = 2**20  # of a description
MISSING = "-1"  # of rows without a class


def class_labels(file: Path, metadata: Mapping[bytes, bytes] | None, column: str) -> list[str]:
    """Returns the names of the classes 0, 1, ... of a column; [] if no description has them."""
    found = [_of_json((metadata or {}).get(b"huggingface", b""), column)]
    for folder in dict.fromkeys((file.parent, file.parent.parent)):
        found += [_of_json(_read(folder / INFO), column), _of_card(_read(folder / CARD), column)]
    return next(filter(None, found), [])


def with_class_names(table: pa.Table, file: TableFile, columns: Sequence[str]) -> tuple[pa.Table, tuple[str, ...]]:
    """Returns a table with names instead of the numbers of classes, where a description has them; and which columns."""
    found: list[str] = []
    for name in columns if file.content is None else ():
        column = table.column(name) if name in table.column_names else None
        if column is None or pa.types.is_nested(column.type) or pa.types.is_floating(column.type):
            continue
        names = class_labels(file.path, table.schema.metadata, name)
        if names and (replaced := named(column, names)) is not None:
            table = table.set_column(table.column_names.index(name), name, replaced)
            found.append(name)
    return table, tuple(found)


def named(values: pa.ChunkedArray, names: Sequence[str]) -> pa.ChunkedArray | None:
    """Returns the names of classes for their numbers, which may be text, -1 is missing; None if one has no name."""
    texts = pc.dictionary_encode(values.cast(pa.string())).unify_dictionaries()
    known = {str(number): name for number, name in enumerate(names)} | {MISSING: None, "": None}
    distinct = texts.chunk(0).dictionary.to_pylist() if texts.num_chunks else []
    if any(text not in known for text in distinct):
        return None
    replaced = pa.array([known[text] for text in distinct], pa.string())
    return pa.chunked_array([pc.take(replaced, chunk.indices) for chunk in texts.chunks], pa.string())


def _of_json(content: bytes, column: str) -> list[str]:
    """Returns the names in the metadata of a file, or in dataset_info.json."""
    try:
        document = json.loads(content)
        features = document.get("info", document)["features"]
        return _names(features[column]["names"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _of_card(content: bytes, column: str) -> list[str]:
    """Returns the names in the YAML at the top of README.md; those of its first configuration if there are several."""
    parts = content.decode("utf-8", "replace").split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return []
    try:
        info = yaml.safe_load(parts[1])["dataset_info"]
        features = (info[0] if isinstance(info, list) else info)["features"]
        of_column = next(one for one in features if one["name"] == column)
        return _names(of_column["dtype"]["class_label"]["names"])
    except (yaml.YAMLError, KeyError, IndexError, TypeError, StopIteration, RecursionError):
        return []


def _names(found: Any) -> list[str]:
    """Returns names that are a list, or a mapping of their numbers."""
    if isinstance(found, dict):
        found = (
            [found[key] for key in sorted(found, key=int)] if sorted(map(int, found)) == [*range(len(found))] else []
        )
    return [str(name) for name in found] if len(set(map(str, found))) == len(found) else []


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return b""
