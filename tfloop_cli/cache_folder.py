"""The folder of the disk cache: its location, its entries, and its size limit.

A process that reads or writes an entry holds a lock on its file, which the operating system releases when the process
ends. An entry without a lock may be removed.
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
COMPLETE, PARTIAL = ".rows", ".part"  # suffixes of a complete entry, and of one that is being written
HEADER = 4096  # bytes before the rows; one page, so that rows are aligned to pages of the file


@dataclass(frozen=True)
class Entry:
    """One file of the cache.

    Attributes:
        path: of the file.
        bytes: size of the file.
        used: when it was last opened, seconds since 1970.
        about: a description of its content; "" if its header is damaged.
    """

    path: Path
    bytes: int
    used: float
    about: str


def folder() -> Path:
    """Returns `TFLOOP_CACHE`, else tfloop's folder in `XDG_CACHE_HOME` or ~/.cache."""
    own, base = os.environ.get(FOLDER), os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(own).expanduser() if own else Path(base).expanduser() / "tfloop"


def limit() -> int:
    """Returns the size limit of the cache in bytes: `TFLOOP_CACHE_GIB`, 20 by default; 0 for no cache.

    Raises:
        TfloopError: the variable is not a number (exit code 2).
    """
    text = os.environ.get(LIMIT) or "20"
    try:
        return int(max(float(text), 0.0) * 2**30)
    except (ValueError, OverflowError):
        raise TfloopError(f"`{LIMIT}` is `{text}`, not a number of GiB") from None


def entries() -> list[Entry]:
    """Returns all entries of the cache, the least recently used first."""
    found = []
    for path in folder().glob("*"):
        if path.suffix in (COMPLETE, PARTIAL):
            try:
                with path.open("rb") as file:
                    status, header = os.fstat(file.fileno()), read_header(file)
            except OSError:  # another process has just removed it, or it belongs to another user
                continue
            found.append(Entry(path, status.st_size, status.st_mtime, str(header.get("about", ""))))
    return sorted(found, key=lambda entry: (entry.used, entry.path))


def remove(entry: Entry) -> bool:
    """Removes an entry; returns False if it is in use or cannot be removed."""
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
    """Removes the least recently used entries until `needed` bytes fit; returns False if that is impossible."""
    if needed > limit():
        return False
    existing = entries()
    free = limit() - sum(entry.bytes for entry in existing)
    for entry in existing:
        if free >= needed:
            break
        if remove(entry):
            free += entry.bytes
    return free >= needed


def lock(file: IO[bytes], how: int) -> bool:
    """Locks with `fcntl.flock`; returns False if another process holds the lock.

    Always succeeds on a filesystem that does not support locks.
    """
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def write_header(header: dict[str, Any]) -> bytes:
    """Returns the first `HEADER` bytes of an entry: JSON on one line, its sha256 on the next, zeros."""
    text = json.dumps(header).encode()
    lines = text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n"
    assert len(lines) <= HEADER
    return lines.ljust(HEADER, b"\0")


def read_header(file: IO[bytes]) -> dict[str, Any]:
    """Returns the argument of `write_header`; {} if the file is damaged."""
    text, checksum, *_ = [*file.read(HEADER).split(b"\n"), b""]
    if hashlib.sha256(text).hexdigest().encode() != checksum:
        return {}
    header = json.loads(text)
    return header if isinstance(header, dict) else {}
