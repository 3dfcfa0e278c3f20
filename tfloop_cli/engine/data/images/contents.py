"""Opens an image: a file of its own, or one in a column of a .parquet file."""

import io
from collections.abc import Callable
from typing import IO

WITHIN = "::"  # in the path of an image in another file: FILE::COLUMN::ROW
_readers: list[Callable[[str], bytes]] = []


def open_image(path: str) -> IO[bytes]:
    """Opens an image for reading.

    Raises:
        OSError: it cannot be read.
    """
    if WITHIN in path and _readers:
        return io.BytesIO(_readers[0](path))
    return open(path, "rb")


def use_reader(reader: Callable[[str], bytes]) -> None:
    """Sets what returns the bytes of images in other files; `packed` does, as pyarrow is imported only if needed."""
    _readers[:] = [reader]
