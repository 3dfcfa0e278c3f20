"""Encoded tables in the disk cache: the second start of a run neither reads nor encodes the files."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tfloop_cli.engine.data.cache import MemoryMappedArray, cached, open_cached
from tfloop_cli.engine.data.tables.encoders import FORMAT
from tfloop_cli.engine.data.tables.files import STDIN, find_files

MIN_BYTES = 16 * 2**20  # smaller files are read again: that takes less than a second
VERSION = 3  # increased by a change of how tables are read or encoded
Splits = Mapping[str, tuple[np.ndarray, np.ndarray]]


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
        key = (VERSION, FORMAT, pa.__version__, np.__version__, identity, splits, options)
        self._key = hashlib.sha256(repr(key).encode()).hexdigest()

    def load(self) -> tuple[dict[str, Any], Splits] | None:
        """Returns the document and the arrays of `save`; None if they are not in the cache."""
        if not self.enabled or (header := open_cached(self._name("document"), "uint8")) is None:
            return None
        document = json.loads(header.array.tobytes())
        splits = {}
        for split in document["splits"]:
            pair = [open_cached(self._name(f"{split} {role}"), None) for role in ("inputs", "targets")]
            if pair[0] is None or pair[1] is None:
                return None
            splits[split] = (pair[0].array, pair[1].array)
        return document, splits

    def save(self, document: Mapping[str, Any], splits: Splits) -> None:
        """Writes the arrays, and then a document that can be written as JSON; both are complete, or neither is used."""
        if not self.enabled:
            return
        for split, pair in splits.items():
            for role, array in zip(("inputs", "targets"), pair, strict=True):
                if self._write(f"{split} {role}", array) is None:
                    return
        content = json.dumps({**document, "splits": list(splits)}).encode()
        self._write("document", np.frombuffer(content, np.uint8))

    def _write(self, what: str, array: np.ndarray) -> MemoryMappedArray | None:
        def blocks() -> Iterator[np.ndarray]:
            yield array

        return cached(self._name(what), f"{what} of {self._about}", array.shape, str(array.dtype), blocks)

    def _name(self, what: str) -> str:
        return hashlib.sha256(f"{self._key} {what}".encode()).hexdigest()
