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

    Attributes:
        used: whether an input is an image file.
    """

    decoder: Decoder
    keep: Sequence[str] = ()
    decided: Sequence[str] = ()
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
        """Returns objects with the path of an image in `input`; a text is the error of an input."""
        self.used = True
        paths = [record["input"] if isinstance(record, Mapping) and "input" in record else None for record in records]
        found: list[np.ndarray | str] = []
        for record, path in zip(records, paths, strict=True):
            problem = record if isinstance(record, str) else "there is no path of an image: `input`"
            found += self._decoded([path]) if isinstance(path, str) else [problem]
        shown = [path if isinstance(path, str) else str(name) for path, name in zip(paths, names, strict=True)]
        return self._stacked(shown, found, kept_of(records, self.keep))

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
