"""A run folder: the names in it, how it is made, found and locked, and how files get there whole."""

import errno
import fcntl
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.jsontext import json_text

MANIFEST = "manifest.json"  # a folder that holds one is a checkpoint
LARGEST = 16 * 2**20  # bytes of a JSON file; a larger one was not written by tfloop

# Faults of the path that was asked for; any other is the disk's, and may pass.
_BAD_PATH = {
    errno.EACCES,
    errno.EPERM,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EINVAL,
    errno.EROFS,
}
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # some cluster filesystems have none


@dataclass(frozen=True)
class RunDir:
    """The folder of one run, and what stands where in it."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def config(self) -> Path:
        """The resolved config, YAML."""
        return self.path / "config.yaml"

    @property
    def meta(self) -> Path:
        """What the run was made of: versions, machine, command line (JSON)."""
        return self.path / "meta.json"

    @property
    def metrics(self) -> Path:
        """A JSON document a line: epochs, evaluations, the end."""
        return self.path / "metrics.jsonl"

    @property
    def summary(self) -> Path:
        """Final and best metrics, and how the run ended (JSON)."""
        return self.path / "summary.json"

    @property
    def checkpoints(self) -> Path:
        """One folder a checkpoint."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Pictures that a generative task draws."""
        return self.path / "samples"

    @property
    def plots(self) -> Path:
        """Curves, on request."""
        return self.path / "plots"

    @property
    def code(self) -> Path:
        """Copies of the user's own modules."""
        return self.path / "code"

    def is_run(self) -> bool:
        """Whether a run was begun here."""
        return self.config.is_file()

    def has_checkpoint(self) -> bool:
        """Whether there is at least one whole checkpoint."""
        # A name with a dot in front is one that is still being written.
        return any(self.checkpoints.glob(f"[!.]*/{MANIFEST}"))

    def started(self) -> str:
        """When the run began, UTC ISO 8601; the folder's own time where meta.json does not say."""
        try:
            return str(json.loads(read_file(self.meta))["started"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return utc(self.path.stat().st_mtime)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps a second trainer out. The kernel lets go when the process ends, however it ends.

        Raises:
            TfloopError: another process holds the lock; it is named by pid and host.
        """
        with disk_faults(self.path):
            # A link would have us empty the file that it points to.
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
            file = open(descriptor, "a+", encoding="utf-8")  # noqa: SIM115
        with file:
            with disk_faults(self.path):
                _take_lock(file, self.path)
            yield


def is_checkpoint(path: Path) -> bool:
    """Whether `path` is a checkpoint's folder."""
    return (path / MANIFEST).is_file()


def create(runs_dir: Path, stem: str, *, name: str | None = None, output: Path | None = None) -> RunDir:
    """Makes the folder of a new run.

    Args:
        runs_dir: where runs are kept; made if it is not there.
        stem: what the run is called where nobody named it: `<stem>-YYYYMMDD-HHMMSS-xxxx`, local time.
        name: the user's name for it; `name-2`, `name-3` ... where it is taken.
        output: this very folder instead; it must not exist, or be empty.

    Raises:
        TfloopError: USAGE for a path that cannot be, TRY_AGAIN for a fault of the disk.
    """
    if output is not None:
        return RunDir(_empty_folder(output))
    if name is not None and (Path(name).name != name or name in ("last", "..") or name.startswith("-")):
        raise TfloopError(f"--name {name!r} is not the name of a folder", hint="use letters, digits, '-', '_' and '.'")
    with disk_faults(runs_dir):
        runs_dir.mkdir(parents=True, exist_ok=True)
        for candidate in _numbered(name) if name else _stamped(stem):
            try:
                (runs_dir / candidate).mkdir()
            except FileExistsError:
                continue
            sync_folder(runs_dir)
            return RunDir(runs_dir / candidate)
    raise AssertionError("names do not end")


def require_free(output: Path) -> None:
    """Raises TfloopError if a new run cannot have this folder, before anything has taken time (exit code 2)."""
    with disk_faults(output):
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise TfloopError(
                f"{output} is not an empty folder",
                hint="name a folder that is empty or not there yet, or add --resume to go on in it",
            )


def find(what: str, runs_dir: Path) -> Path:
    """The run folder or the checkpoint folder (see `is_checkpoint`) that a user means by `what`.

    `what` is the path of either, or a run's name in `runs_dir`, or `last`: the run that began last by its meta.json,
    passing over those that have no checkpoint yet. A folder that is itself called "last" is `./last`.

    Raises:
        TfloopError: there is none; the nearest names are given.
    """
    if what == "last":
        return _newest(runs_dir)
    for path in (Path(what), runs_dir / what):
        if is_checkpoint(path) or RunDir(path).is_run():
            return path
    if Path(what).exists():
        raise TfloopError(
            f"{what} is neither a run folder nor a checkpoint folder",
            hint=f"a run folder holds config.yaml, a checkpoint folder {MANIFEST}",
        )
    names = [run.path.name for run in runs(runs_dir)]
    near = get_close_matches(Path(what).name, names, n=3, cutoff=0.4) or names[:3]
    raise TfloopError(
        f"{what}: no such run in {runs_dir}, and no such folder",
        hint=f"did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else f"{runs_dir} holds no runs yet",
    )


def runs(runs_dir: Path) -> list[RunDir]:
    """Every run in `runs_dir`, the newest first."""
    if not runs_dir.is_dir():
        return []
    found = [run for run in map(RunDir, runs_dir.iterdir()) if run.is_run()]
    return sorted(found, key=lambda run: (run.started(), run.path.name), reverse=True)


def read_file(path: Path, largest: int = LARGEST) -> bytes:
    """A regular file's bytes; never waits for a pipe, and never reads more than it was told.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no file, or has more than `largest` bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # or a FIFO would wait here for its writer
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a file")
        if status.st_size > largest:
            raise ValueError(f"it has {status.st_size} bytes, more than {largest}")
        return file.read(status.st_size)


def write_atomic(path: Path, data: bytes) -> None:
    """Puts `data` at `path`, durably: after a crash the file is the old one or the new one, whole.

    Raises:
        OSError: the disk failed; the old file stands.
    """
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(staging, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staging, path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON by `write_atomic`; NaN and infinities become null."""
    write_atomic(path, (json_text(value, indent=2) + "\n").encode())


def sync_folder(path: Path) -> None:
    """Makes the names in `path` (new, renamed, removed) survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def utc(seconds: float) -> str:
    """A moment, in seconds since 1970, as ISO 8601 in UTC; sorts as time does."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


@contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Turns an OSError of the body into a TfloopError that names the path.

    The code is USAGE where the path itself is at fault (not allowed, not a folder), else TRY_AGAIN.
    """
    try:
        yield
    except OSError as error:
        code = ExitCode.USAGE if error.errno in _BAD_PATH else ExitCode.TRY_AGAIN
        raise TfloopError(f"{error.filename or path}: {error.strerror or error}", code=code) from error


def _take_lock(file: TextIO, run: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise TfloopError(
            f"{run}: another tfloop trains here ({file.read().strip() or 'just starting'})",
            hint="wait for it, stop it, or give this run a folder of its own",
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
    file.truncate(0)
    file.write(f"pid {os.getpid()} on {os.uname().nodename}\n")
    file.flush()


def _empty_folder(path: Path) -> Path:
    require_free(path)
    with disk_faults(path):
        path.mkdir(parents=True, exist_ok=True)
        sync_folder(path.parent)
    return path


def _stamped(stem: str) -> Iterator[str]:
    stem = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "run"
    while True:
        yield f"{stem}-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _numbered(name: str) -> Iterator[str]:
    yield name
    for number in count(2):
        yield f"{name}-{number}"


def _newest(runs_dir: Path) -> Path:
    for run in runs(runs_dir):
        if run.has_checkpoint():
            return run.path
    raise TfloopError(f"no run in {runs_dir} has a checkpoint yet", hint="train one: tfloop train --config mnist.yaml")
