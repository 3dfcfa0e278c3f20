"""Opens an image: a file of its own, or a part of another file."""

import io
from typing import IO


class InnerPath(str):
    """The path of an image within another file, as messages show it; its class reads the image."""

    __slots__ = ()

    def read(self) -> bytes:
        """Returns the bytes of the image; raises OSError."""
        raise NotImplementedError


def open_image(path: str) -> IO[bytes]:
    """Opens an image for reading.

    Raises:
        OSError: it cannot be read.
    """
    return io.BytesIO(path.read()) if isinstance(path, InnerPath) else open(path, "rb")
