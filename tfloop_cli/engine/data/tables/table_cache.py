"""Encoded tables in the disk cache: the second start of a run neither reads nor encodes the files."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tfloop_cli.config.data_paths import STDIN
from tfloop_cli.engine.data.cache import MemoryMappedArray, cached, open_cached
from tfloop_cli.engine.data.tables.building import Arrays
from tfloop_cli.engine.data.tables.encoders import TableEncoders
from tfloop_cli.engine.data.tables.files import find_files
from tfloop_cli.engine.data.tables.splits_of_files import Kept

MIN_BYTES = 16 * 2**20  # smaller files are read again: that takes less than a second
_COLUMN = "column "  # begins the role of an array that is a column
VERSION = 9  # increased by a change of how tables are read or encoded
Cached = tuple[dict[str, Any], dict[str, Arrays], dict[str, Kept]]  # the arguments of `TableCache.save`


class TableCache:
    """The cache entry of one table.

    Args:
        files: name of a split -> its files.
        options: everything else that the arrays depend on.
    """

    def __init__(self, files: Mapping[str, str | Sequence[str]], options: object) -> None:
        self._about = " and ".join(str(names) for names in files.values())
        named = [name for names in files.values() for name in ([names] if isinstance(names, str) else names)]
        # stdin can be read only once, and has no size and time that identify it
        found = {} if STDIN in named else {split: find_files(names) for split, names in files.items()}
        status = [(str(file.path.resolve()), file.path.stat()) for split in found.values() for file in split]
        self.enabled = sum(stat.st_size for _, stat in status) >= MIN_BYTES
        identity = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in status]
        splits = [(split, len(names)) for split, names in found.items()]
        key = (VERSION, TableEncoders.identity, pa.__version__, np.__version__, identity, splits, options)
        self._key = hashlib.sha256(repr(key).encode()).hexdigest()

    def load(self) -> Cached | None:
        """Returns the arguments of `save`; None if they are not in the cache."""
        if not self.enabled or (header := open_cached(self._name("document"), "uint8")) is None:
            return None
        document = json.loads(header.array.tobytes())
        arrays: dict[str, Arrays] = {}
        kept: dict[str, Kept] = {}
        for split, roles in document["splits"].items():
            found = {role: opened.array for role in roles if (opened := open_cached(self._name(f"{split} {role}")))}
            if len(found) < len(roles):
                return None
            arrays[split] = (found.pop("inputs"), found.pop("targets"))
            kept[split] = {role.removeprefix(_COLUMN): array for role, array in found.items()}
        return document, arrays, kept

    def save(self, document: Mapping[str, Any], arrays: Mapping[str, Arrays], kept: Mapping[str, Kept]) -> None:
        """Writes arrays and kept columns, and then a document that can be written as JSON.

        All are complete, or none is used. Missing text of a column becomes empty text.
        """
        if not self.enabled:
            return
        splits: dict[str, list[str]] = {}
        for split, pair in arrays.items():
            columns = {f"{_COLUMN}{name}": _as_text(values) for name, values in kept[split].items()}
            roles = {"inputs": pair[0], "targets": pair[1], **columns}
            if any(self._write(f"{split} {role}", array) is None for role, array in roles.items()):
                return
            splits[split] = list(roles)
        content = json.dumps({**document, "splits": splits}).encode()
        self._write("document", np.frombuffer(content, np.uint8))

    def _write(self, what: str, array: np.ndarray) -> MemoryMappedArray | None:
        def blocks() -> Iterator[np.ndarray]:
            yield array

        return cached(self._name(what), f"{what} of {self._about}", array.shape, str(array.dtype), blocks)

    def _name(self, what: str) -> str:
        return hashlib.sha256(f"{self._key} {what}".encode()).hexdigest()


def _as_text(values: np.ndarray) -> np.ndarray:
    return np.array(["" if one is None else one for one in values], str) if values.dtype == object else values
