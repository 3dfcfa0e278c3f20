"""Durable and bounded file access, and the strict JSON that tfloop writes."""

import errno
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tfloop_cli.errors import ExitCode, TfloopError

SCHEMA = 1  # of the JSON documents of commands, and of summary.json; increased by a change that breaks readers
MAX_JSON_BYTES = 16 * 2**20  # a larger JSON file was not written by tfloop

# These errors blame the path that was requested. All others blame the disk and may not occur again.
_PATH_ERRORS = {
    errno.EACCES,
    errno.EPERM,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EINVAL,
    errno.EROFS,
}


def read_file(path: Path, max_bytes: int = MAX_JSON_BYTES, start: int = 0) -> bytes:
    """Returns the bytes of a regular file from `start` on. Never blocks on a pipe.

    Raises:
        OSError: the file cannot be read.
        ValueError: `path` is not a regular file, or has more than `max_bytes` bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # without O_NONBLOCK, opening a FIFO waits for its writer
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a file")
        if status.st_size > max_bytes:
            raise ValueError(f"it has {status.st_size} bytes, more than {max_bytes}")
        file.seek(start)
        return file.read(max(0, status.st_size - start))


def parse_json(text: str | bytes) -> Any:
    """Returns the value of a JSON document.

    Raises:
        ValueError: it is damaged, or has a whole number that no float can hold.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_int=_whole_number)


def _whole_number(digits: str) -> int:
    if len(digits) > 300:
        raise ValueError("a number is too large")
    return int(digits)


def read_json(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file; an empty dict if the file is missing or damaged."""
    try:
        value = parse_json(read_file(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Writes a file durably. After a crash, the file has either its old or its new content, complete.

    Args:
        path: of the file; replaced if it exists.
        data: its content.
        durable: whether to wait for the disk. False suits a file that can be written again from another one: readers
            see the old or the new content too, but a power failure may lose both.

    Raises:
        OSError: the disk failed; the old file is unchanged.
    """
    staging = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        with open(staging, "xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(staging, path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON with `write_atomic`; NaN and infinities become null."""
    write_atomic(path, (json_text(value, indent=2) + "\n").encode())


def sync_folder(path: Path) -> None:
    """Flushes the entries of a folder (new, renamed, removed files) to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_text(value: Any, indent: int | None = None) -> str:
    """Returns strict JSON: NaN and infinities become null, numbers keep every digit, paths become strings.

    A byte of a path that is not UTF-8 is escaped, so that the text can always be encoded, and reading it restores it.
    """
    text = json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False, default=str)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def utc(seconds: float) -> str:
    """Returns a Unix timestamp, in seconds, as ISO 8601 in UTC; the text sorts chronologically."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns an OSError of the body into a TfloopError that names the path; see `disk_error`."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, path) from error


def disk_error(error: OSError, path: Path | None = None) -> TfloopError:
    """Returns the error to show for an OSError: the path that it names, else `path`, and the reason.

    The exit code is USAGE if the path itself is at fault (no permission, not a folder), else TRY_AGAIN. A missing file
    is at fault where `path` is None; where tfloop has created it, it may come back.
    """
    at_fault = error.errno in _PATH_ERRORS or (path is None and error.errno == errno.ENOENT)
    code = ExitCode.USAGE if at_fault else ExitCode.TRY_AGAIN
    return TfloopError(f"{error.filename or path}: {error.strerror or error}", code=code)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
