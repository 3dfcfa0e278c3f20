"""Lines of JSON from a stream, as they come."""

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import IO

import numpy as np

from tfloop_cli.engine.inference.inputs import Inputs
from tfloop_cli.engine.inference.readers import Reader
from tfloop_cli.engine.inference.rows import parsed

_WAITING = 4096  # lines that are read ahead


def json_line_inputs(stream: IO[bytes], reader: Reader, batch_size: int) -> Generator[Inputs]:
    """Yields the lines that have come, at most a batch at a time: a single line is not kept waiting for others.

    The number of a line, from 1, is the name of an input without a path.
    """
    for lines in _available(stream, batch_size):
        names = np.array([number for number, _ in lines])
        yield reader.records([parsed(line) for _, line in lines], names)


def _available(stream: IO[bytes], size: int) -> Iterator[list[tuple[int, bytes]]]:
    ready: queue.Queue[tuple[int, bytes] | None] = queue.Queue(_WAITING)

    def work() -> None:
        try:
            for number, line in enumerate(iter(stream.readline, b""), 1):
                if line.strip():
                    ready.put((number, line))
        finally:
            ready.put(None)

    threading.Thread(target=work, name="tfloop-stdin", daemon=True).start()
    line = ready.get()
    while line is not None:
        lines = [line]
        with suppress(queue.Empty):
            while len(lines) < size and (line := ready.get_nowait()) is not None:
                lines.append(line)
        yield lines
        line = line if line is None else ready.get()
