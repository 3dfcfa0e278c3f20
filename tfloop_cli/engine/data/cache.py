"""A disk cache of decoded data: arrays in memory-mapped files, which the next run opens at once.

    rows = cached(fingerprint, "train images of /data", (50_000, 32, 32, 3), "uint8", decode)
    if rows is not None:
        rows.take(indices)

An entry is written to a temporary file, flushed and renamed, so it is either complete or absent. If two processes need
the same entry, the second one waits for the first. The disk may take seconds to flush a large entry; with `flush_later`
the run goes on meanwhile. `tfloop_cli.cache_folder` has the folder and its limits.
"""

import atexit
import errno
import fcntl
import mmap
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from tfloop_cli import cache_folder

FORMAT = 1
MIN_BYTES_FLUSHED_LATER = 64 * 2**20


class MemoryMappedArray:
    """An array in a file of the cache. The entry is in use as long as this object exists.

    Args:
        file: of an entry: open, locked and verified; it may be closed afterwards.
        shape: of the array, rows first.
        dtype: of the array.

    Attributes:
        array: the whole array, read-only; its values are read from the file when they are used.
        failure: why the file could not be flushed: what was not read before may be lost.
    """

    failure: OSError | None = None

    def __init__(self, file: IO[bytes], shape: tuple[int, ...], dtype: str) -> None:
        # The map and the descriptor are duplicates, and they keep the lock that marks the entry as used.
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.array = np.ndarray(shape, dtype, self._map, cache_folder.HEADER)
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return len(self.array)

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Returns copies of rows, [len(indices), ...]. The memory of the process does not grow with what was read.

        Raises:
            OSError: the file could not be flushed.
        """
        if self.failure:
            raise self.failure
        # Not through the map: the kernel maps up to 2 MiB around each row, which count as memory of the process.
        size = self.array.itemsize * int(np.prod(self.array.shape[1:], dtype=np.int64))
        rows = np.empty((len(indices), size), np.uint8)
        for row, number in zip(rows, indices.tolist(), strict=True):
            if not 0 <= number < len(self):
                raise IndexError(f"there is no row {number} of {len(self)}")
            if os.preadv(self._descriptor, [row], cache_folder.HEADER + number * size) != size:
                raise OSError(errno.EIO, "the file of the cache has become shorter")
        return rows.view(self.array.dtype).reshape(len(indices), *self.array.shape[1:])


def cached(
    fingerprint: str,
    about: str,
    shape: tuple[int, ...],
    dtype: str,
    blocks: Callable[[], Iterator[np.ndarray]],
    *,
    flush_later: bool = False,
) -> MemoryMappedArray | None:
    """Returns an array from the cache; computes and stores it first if it is missing.

    Args:
        fingerprint: identifies the array: a hash of its sources and of how they are processed, as hex digits.
        about: a description, which `tfloop cache` shows.
        shape: of the array, rows first.
        dtype: of the array.
        blocks: computes the rows in order, several at a time: arrays [n, *shape[1:]]. Its errors are passed on.
        flush_later: whether a thread completes a large entry, while the array is used already. The process waits for it
            when it exits; if it is killed before, the entry is absent. An error of the disk is an error of `take`.

    Returns:
        None if it cannot be stored (too large, or a disk error); a warning is printed.

    Raises:
        TfloopError: `TFLOOP_CACHE_GIB` is not a number (exit code 2).
    """
    header = {"format": FORMAT, "fingerprint": fingerprint, "about": about[-500:], "shape": list(shape), "dtype": dtype}
    folder = cache_folder.folder()
    complete, partial = (
        folder / f"{fingerprint}{cache_folder.COMPLETE}",
        folder / f"{fingerprint}{cache_folder.PARTIAL}",
    )
    needed = _size(shape, dtype)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while (rows := _open(complete, header, needed)) is None:
            with open(os.open(partial, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
                if not _wait(file, partial):
                    continue
                if not cache_folder.make_room(needed):
                    partial.unlink()
                    _warn(
                        about,
                        f"its {needed / 2**30:.2g} GiB do not fit: {cache_folder.LIMIT} limits all entries together to "
                        f"{cache_folder.limit() / 2**30:.2g}",
                    )
                    return None
                _write(file, partial, header, blocks())
                written = MemoryMappedArray(file, shape, dtype)
                if flush_later and needed >= MIN_BYTES_FLUSHED_LATER:
                    _complete_later(written, os.dup(file.fileno()), partial, complete)
                else:
                    _complete(file.fileno(), partial, complete)
                cache_folder.lock(file, fcntl.LOCK_SH)
                return written
        return rows
    except OSError as error:
        _warn(about, f"{folder}: {error.strerror or error}")
        return None


def open_cached(fingerprint: str, dtype: str | None = None) -> MemoryMappedArray | None:
    """Returns an array whose shape is not known, if it is in the cache.

    Args:
        fingerprint: that of `cached`.
        dtype: of the array; None if it is not known either.
    """
    path = cache_folder.folder() / f"{fingerprint}{cache_folder.COMPLETE}"
    try:
        with path.open("rb") as file:
            header = cache_folder.read_header(file)
        shape, dtype = tuple(header["shape"]), dtype or str(header["dtype"])
        return _open(
            path, {**header, "fingerprint": fingerprint, "format": FORMAT, "dtype": dtype}, _size(shape, dtype)
        )
    except (OSError, KeyError, TypeError):  # missing or damaged
        return None


def _size(shape: tuple[int, ...], dtype: str) -> int:
    return cache_folder.HEADER + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize


def _open(path: Path, header: dict[str, object], size: int) -> MemoryMappedArray | None:
    """Opens a complete entry; None if it is missing or damaged. A damaged one is removed."""
    try:
        with path.open("rb") as file:
            cache_folder.lock(file, fcntl.LOCK_SH)
            if cache_folder.read_header(file) == header and os.fstat(file.fileno()).st_size == size:
                _touch(path)
                return MemoryMappedArray(file, tuple(header["shape"]), str(header["dtype"]))
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    return None


def _touch(path: Path) -> None:
    """Records that the entry is used now."""
    try:
        os.utime(path)
    except OSError:  # of another user, or a read-only disk: the entry can be read all the same
        pass


def _write(file: IO[bytes], partial: Path, header: dict[str, object], blocks: Iterator[np.ndarray]) -> None:
    """Fills `file`, which is at `partial`; removes it if that fails."""
    try:
        file.truncate(0)
        file.write(cache_folder.write_header(header))
        for block in blocks:
            assert block.dtype == header["dtype"]
            file.write(np.ascontiguousarray(block))
        file.flush()
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _complete(descriptor: int, partial: Path, complete: Path) -> None:
    """Flushes an entry to the disk and renames it; removes it if that fails."""
    try:
        os.fsync(descriptor)
        os.replace(partial, complete)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _complete_later(rows: MemoryMappedArray, descriptor: int, partial: Path, complete: Path) -> None:
    """Completes an entry in a thread, and closes the file descriptor."""

    def run() -> None:
        try:
            _complete(descriptor, partial, complete)
        except OSError as error:
            rows.failure = error
        finally:
            os.close(descriptor)

    thread = threading.Thread(target=run, name="cache")
    thread.start()
    atexit.register(thread.join)


def _wait(file: IO[bytes], partial: Path) -> bool:
    """Locks the file to be written; False if another process has completed or abandoned the same entry."""
    while not cache_folder.lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
        # Not a blocking lock: the process that wrote the entry holds it as long as it uses the entry.
        if not _is_at(file, partial):
            return False
        time.sleep(0.1)
    return _is_at(file, partial)


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _warn(about: str, reason: str) -> None:
    print(f"warning: {about} cannot be cached: {reason}", file=sys.stderr, flush=True)
