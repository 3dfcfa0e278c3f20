"""The folder of cached data: where it lies, what is in it, and how it stays within its bounds.

Whoever reads or writes an entry holds a lock on its file, which the kernel lets go of when the process ends, however it
ends. What nobody holds may be removed.
"""

import fcntl
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tfloop_cli.errors import TfloopError

FOLDER, LIMIT = "TFLOOP_CACHE", "TFLOOP_CACHE_GIB"
WHOLE, PART = ".rows", ".part"  # an entry, and one that is being written
HEADER = 4096  # bytes before the rows: what they are, so that pages of rows are pages of the file


@dataclass(frozen=True)
class Entry:
    """A file of the cache.

    Attributes:
        path: of the file.
        bytes: its size.
        used: when it was last opened, seconds since 1970.
        about: what is in it, in words; "" where its header is damaged.
    """

    path: Path
    bytes: int
    used: float
    about: str


def folder() -> Path:
    """`TFLOOP_CACHE`, or tfloop's folder in `XDG_CACHE_HOME` or ~/.cache."""
    own, base = os.environ.get(FOLDER), os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(own).expanduser() if own else Path(base).expanduser() / "tfloop"


def limit() -> int:
    """The most bytes that the cache may hold: `TFLOOP_CACHE_GIB`, 20 by default; 0 for no cache.

    Raises:
        TfloopError: it is not a number.
    """
    text = os.environ.get(LIMIT) or "20"
    try:
        return int(max(float(text), 0.0) * 2**30)
    except (ValueError, OverflowError):
        raise TfloopError(f"`{LIMIT}` is `{text}`, not a number of GiB") from None


def entries() -> list[Entry]:
    """Everything in the cache, the least recently used first."""
    found = []
    for path in folder().glob("*"):
        if path.suffix in (WHOLE, PART):
            try:
                with path.open("rb") as file:
                    status, header = os.fstat(file.fileno()), read_header(file)
            except OSError:  # another process has just removed it, or it is another user's
                continue
            found.append(Entry(path, status.st_size, status.st_mtime, str(header.get("about", ""))))
    return sorted(found, key=lambda entry: (entry.used, entry.path))


def remove(entry: Entry) -> bool:
    """Removes an entry; False if it is in use, or cannot be removed."""
    try:
        with entry.path.open("r+b") as file:
            if not lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                return False
            entry.path.unlink(missing_ok=True)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def make_room(needed: int) -> bool:
    """Removes the least recently used entries until `needed` bytes fit within the limit; False if they cannot."""
    if needed > limit():
        return False
    held = entries()
    free = limit() - sum(entry.bytes for entry in held)
    for entry in held:
        if free >= needed:
            break
        if remove(entry):
            free += entry.bytes
    return free >= needed


def lock(file: IO[bytes], how: int) -> bool:
    """Takes `fcntl.flock`'s lock; False if another process holds it. A filesystem that has no locks gives it to all."""
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def write_header(header: dict[str, Any]) -> bytes:
    """The first `HEADER` bytes of an entry: JSON in one line, its sha256 in the next, zeros."""
    text = json.dumps(header).encode()
    lines = text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n"
    assert len(lines) <= HEADER
    return lines.ljust(HEADER, b"\0")


def read_header(file: IO[bytes]) -> dict[str, Any]:
    """What `write_header` was given; {} where the file is damaged."""
    text, sum_, *_ = [*file.read(HEADER).split(b"\n"), b""]
    if hashlib.sha256(text).hexdigest().encode() != sum_:
        return {}
    header = json.loads(text)
    return header if isinstance(header, dict) else {}
