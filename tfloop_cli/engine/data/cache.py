"""Rows that took work to make, kept in a file and mapped into memory: the next run has them at once.

    rows = cached(fingerprint, "train images of /data", (50_000, 32, 32, 3), "uint8", decode)
    if rows is not None:
        rows.take(indices)

An entry is written beside, made durable and renamed, so it is there whole or not at all. Of two processes that want
the same one, the second waits for the first. See `tfloop_cli.cachedir` for the folder and its bounds.
"""

import fcntl
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from tfloop_cli import cachedir

FORMAT = 1
KEPT_BYTES = 256 * 2**20  # of the file's pages in the process, before it gives them back
MAPPED_AT_ONCE = 64 * 2**10  # bytes that the kernel maps around each page that is asked for


class Rows:
    """An array in a file of the cache, in use for as long as this object lives.

    Args:
        file: of an entry, open, locked and verified; may be closed afterwards.
        shape: of the array: rows first.
        dtype: of its numbers.

    Attributes:
        array: the whole of it, read-only; what of it is read is read from the file.
    """

    def __init__(self, file: IO[bytes], shape: tuple[int, ...], dtype: str) -> None:
        # The map keeps a duplicate of the file's descriptor, and so the lock that says "in use".
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.array = np.ndarray(shape, dtype, self._map, cachedir.HEADER)
        self._read = 0

    def __len__(self) -> int:
        return len(self.array)

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Copies of some rows, [len(indices), ...]. The process's memory does not grow with what was ever read."""
        rows = self.array[indices]
        self._read += len(rows) * max(rows[:1].nbytes, MAPPED_AT_ONCE)
        if self._read > KEPT_BYTES:  # the pages stay in the kernel's cache for as long as there is room
            self._map.madvise(mmap.MADV_DONTNEED)
            self._read = 0
        return rows


def cached(
    fingerprint: str, about: str, shape: tuple[int, ...], dtype: str, blocks: Callable[[], Iterator[np.ndarray]]
) -> Rows | None:
    """An array out of the cache, made and kept there if it was not.

    Args:
        fingerprint: tells it from all others: a hash of its sources and of what is done to them, as hex digits.
        about: what it is, for people: `tfloop cache` shows it.
        shape: of the array, rows first.
        dtype: of the array.
        blocks: makes the rows in order, some at a time: arrays [some, *shape[1:]]. Its errors are passed on.

    Returns:
        None if it cannot be kept (no room, or the disk failed), of which stderr is told: work without it.

    Raises:
        TfloopError: `TFLOOP_CACHE_GIB` is no number (exit code 2).
    """
    header = {"format": FORMAT, "fingerprint": fingerprint, "about": about[-500:], "shape": list(shape), "dtype": dtype}
    folder = cachedir.folder()
    whole, part = folder / f"{fingerprint}{cachedir.WHOLE}", folder / f"{fingerprint}{cachedir.PART}"
    needed = cachedir.HEADER + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while (rows := _open(whole, header, needed)) is None:
            with open(os.open(part, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
                if not _wait(file, part):
                    continue
                if not cachedir.make_room(needed):
                    part.unlink()
                    _warn(
                        about,
                        f"its {needed / 2**30:.2g} GiB do not fit: {cachedir.LIMIT} allows all entries together "
                        f"{cachedir.limit() / 2**30:.2g}",
                    )
                    return None
                _write(file, part, whole, header, blocks())
                cachedir.lock(file, fcntl.LOCK_SH)
                return Rows(file, shape, dtype)
        return rows
    except OSError as error:
        _warn(about, f"{folder}: {error.strerror or error}")
        return None


def _open(path: Path, header: dict[str, object], size: int) -> Rows | None:
    """A whole entry; None if there is none, or a damaged one, which is removed."""
    try:
        with path.open("rb") as file:
            cachedir.lock(file, fcntl.LOCK_SH)
            if cachedir.read_header(file) == header and os.fstat(file.fileno()).st_size == size:
                _touch(path)
                return Rows(file, tuple(header["shape"]), str(header["dtype"]))
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    return None


def _touch(path: Path) -> None:
    """Notes that the entry is used now."""
    try:
        os.utime(path)
    except OSError:  # another user's, or a disk that cannot be written: it is read all the same
        pass


def _write(file: IO[bytes], part: Path, whole: Path, header: dict[str, object], blocks: Iterator[np.ndarray]) -> None:
    """Fills `file`, which is at `part`, and moves it to `whole`; leaves nothing behind if that fails."""
    try:
        file.truncate(0)
        file.write(cachedir.write_header(header))
        for block in blocks:
            assert block.dtype == header["dtype"]
            file.write(np.ascontiguousarray(block))
        file.flush()
        os.fsync(file.fileno())
        os.replace(part, whole)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _wait(file: IO[bytes], part: Path) -> bool:
    """Locks the file to be written; False once another process has made or given up the same entry."""
    while not cachedir.lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
        # Not in the kernel: whoever made the entry holds this lock for as long as it uses it.
        if not _is_at(file, part):
            return False
        time.sleep(0.1)
    return _is_at(file, part)


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _warn(about: str, reason: str) -> None:
    print(f"warning: {about} cannot be kept in the cache: {reason}", file=sys.stderr, flush=True)
