"""The lock of a run folder: held while a process trains in it, and released by the kernel when the process ends."""

import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from tfloop_cli.errors import TfloopError

_NO_LOCK_SUPPORT = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # some cluster filesystems have no locks
_SECONDS = 0.2  # how long a trainer waits: `is_locked` holds the lock for a moment


def acquire_lock(file: TextIO, run: Path) -> None:
    """Locks a run folder until `file`, its open `.lock`, is closed, and writes pid and host into it.

    Raises:
        TfloopError: another process trains in the folder (exit code 2).
        OSError: the disk failed. Without lock support in the file system, nothing is locked.
    """
    try:
        _wait(file)
    except BlockingIOError:
        file.seek(0)
        raise TfloopError(
            f"{run}: another tfloop process is training in this folder ({file.read().strip() or 'just starting'})",
            hint="wait until it ends, stop it, or use another folder for this run",
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCK_SUPPORT:
            raise
    file.truncate(0)
    file.write(f"pid {os.getpid()} on {os.uname().nodename}\n")
    file.flush()


def is_locked(run: Path) -> bool:
    """Whether a process trains in a run folder; False if that cannot be found out."""
    try:
        descriptor = os.open(run / ".lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)
    return False


def _wait(file: TextIO) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.02)
    return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
