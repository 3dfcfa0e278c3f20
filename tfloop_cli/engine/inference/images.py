"""Image files as inputs, decoded by all cores ahead of the model."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from tfloop_cli.engine.data.images.decoding import Decoder
from tfloop_cli.engine.inference.arrays import ArrayInputs
from tfloop_cli.engine.inference.inputs import Inputs, kept_of, objects
from tfloop_cli.errors import TfloopError
from tfloop_cli.hardware import cores

PART = 16  # images that one thread decodes at once
CHUNKS_AHEAD = 2


@dataclass
class ImageInputs:
    """Reads image files as those of the training split.

    Args:
        decoder: decodes them.
        keep: keys of records to copy.
        decided: what was decided for the user.
        arrays: reads pixels as nested lists in place of a path; None for none.

    Attributes:
        used: whether an input is an image file.
    """

    decoder: Decoder
    keep: Sequence[str] = ()
    decided: Sequence[str] = ()
    arrays: ArrayInputs | None = None
    used: bool = False

    @property
    def notes(self) -> Sequence[str]:
        """What was decided for the user; nothing if it matters for no input."""
        return self.decided if self.used else ()

    def read(self, paths: Iterable[str], batch_size: int) -> Iterator[Inputs]:
        """Yields image files, one batch at a time."""
        rest, pending = iter(paths), deque[tuple[list[str], list[Future[list[np.ndarray | str]]]]]()
        pool = ThreadPoolExecutor(cores(), thread_name_prefix="decoder")
        try:
            while names := list(islice(rest, batch_size)):
                parts = [names[start : start + PART] for start in range(0, len(names), PART)]
                pending.append((names, [pool.submit(self._decoded, part) for part in parts]))
                if len(pending) > CHUNKS_AHEAD:
                    yield self._inputs(*pending.popleft())
            while pending:
                yield self._inputs(*pending.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def records(self, records: Sequence[Mapping[str, Any] | str], names: np.ndarray) -> Inputs:
        """Returns objects with the path of an image, or its pixels, in `input`; a text is the error of an input."""
        paths = [record["input"] if isinstance(record, Mapping) and "input" in record else None for record in records]
        self.used = self.used or any(isinstance(path, str) for path in paths)
        found = [
            self._decoded([path])[0] if isinstance(path, str) else self._pixels(record)
            for record, path in zip(records, paths, strict=True)
        ]
        shown = [path if isinstance(path, str) else str(name) for path, name in zip(paths, names, strict=True)]
        return self._stacked(shown, found, kept_of(records, self.keep))

    def _pixels(self, record: Mapping[str, Any] | str) -> np.ndarray | str:
        """Returns the pixels in a record, or why it has none."""
        if isinstance(record, str):
            return record
        if self.arrays is None or not isinstance(record.get("input"), list):
            return "there is no path of an image: `input`"
        chunk = self.arrays.records([record], np.zeros(1, np.int64))
        assert isinstance(chunk.values, np.ndarray)
        return chunk.errors[0] if chunk.errors else chunk.values[0]

    def _inputs(self, names: list[str], parts: list["Future[list[np.ndarray | str]]"]) -> Inputs:
        return self._stacked(names, [one for part in parts for one in part.result()])

    def _stacked(self, names: list[str], found: list[np.ndarray | str], kept: pa.Table | None = None) -> Inputs:
        errors = {number: one for number, one in enumerate(found) if isinstance(one, str)}
        pixels = [one for one in found if not isinstance(one, str)]
        stacked = np.stack(pixels) if pixels else np.zeros((0, *self.decoder.shape), np.uint8)
        return Inputs(objects(names), stacked, errors, kept)

    def _decoded(self, paths: list[str]) -> list[np.ndarray | str]:
        """Returns the pixels of each file, or why it cannot be used."""
        found: list[np.ndarray | str] = []
        for path in paths:
            try:
                found.append(self.decoder.decode(path))
            except TfloopError as error:
                found.append(error.problems[0].message)
        return found
