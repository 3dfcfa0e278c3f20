"""Standard streams that never fail, so that no full disk, closed pipe or vanished terminal ends a training."""

import io
import os
import select
import sys
from contextlib import suppress
from typing import Any, TextIO


class _NeverFailing(io.FileIO):
    """A file whose writes never raise: what it does not accept is dropped."""

    def write(self, data: Any) -> int:
        """Returns the number of bytes that were written, or dropped."""
        try:
            while (written := super().write(data)) is None:  # full, and another process made it non-blocking
                select.select([], [self], [])
        except OSError:
            return len(data)
        return written


def never_failing(stream: TextIO, descriptor: int) -> TextIO:
    """Returns a stream to an open file descriptor, with the encoding of `stream`, whose writes never raise OSError.

    It does not close the descriptor: that would warn, and lose the last message of a thread.
    """
    buffer = io.BufferedWriter(_NeverFailing(descriptor, "w", closefd=False))
    return io.TextIOWrapper(
        buffer, stream.encoding, errors="backslashreplace", line_buffering=getattr(stream, "line_buffering", True)
    )


def ignore_errors(name: str) -> None:
    """Replaces `sys.stdout` or `sys.stderr` by a stream that never fails, also for the prints of other code.

    A stream to another descriptor, such as a test's buffer, is not replaced.
    """
    stream, descriptor = getattr(sys, name), {"stdout": 1, "stderr": 2}[name]
    if descriptor_of(stream) == descriptor:
        with suppress(OSError):
            stream.flush()
        setattr(sys, name, never_failing(stream, descriptor))


def descriptor_of(stream: TextIO) -> int | None:
    """Returns the file descriptor of a stream; None for one in memory."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def discard(stream: TextIO) -> None:
    """Redirects a stream that has failed: Python flushes it at exit, and would report the error again."""
    if (descriptor := descriptor_of(stream)) is not None:
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), descriptor)
