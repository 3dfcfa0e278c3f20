"""Run folders: the names of the files in them, how they are created, found and locked."""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from itertools import count
from pathlib import Path

from tfloop_cli.errors import TfloopError
from tfloop_cli.files import disk_errors, read_json, sync_folder, utc
from tfloop_cli.runs.checkpoints import MANIFEST, is_checkpoint
from tfloop_cli.runs.locking import acquire_lock

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")  # see `write_atomic`
REMOVED = ".removed-"  # prefix of a run folder that is being deleted
_STAMP = re.compile(r"-\d{8}-\d{6}-[0-9a-f]{4}$|-\d+$")  # what `create` appends to a name prefix


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, with the paths in it."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def config(self) -> Path:
        """The resolved config (YAML)."""
        return self.path / "config.yaml"

    @property
    def metadata(self) -> Path:
        """Versions, machine and command line of the run (JSON)."""
        return self.path / "meta.json"

    @property
    def metrics(self) -> Path:
        """The history: one JSON document per line for epochs, evaluations and the end of the run."""
        return self.path / "metrics.jsonl"

    @property
    def history(self) -> Path:
        """The epochs of the history as a table: one row per epoch (CSV)."""
        return self.path / "history.csv"

    @property
    def summary(self) -> Path:
        """Final and best metrics, and why the run ended (JSON)."""
        return self.path / "summary.json"

    @property
    def encoders(self) -> Path:
        """How the data was encoded, as far as it depends on the training split (JSON)."""
        return self.path / "encoders.json"

    @property
    def data_files(self) -> Path:
        """The files and rows that each split was read from (compressed JSON)."""
        return self.path / "data-files.json.gz"

    @property
    def checkpoints(self) -> Path:
        """One folder per checkpoint."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Images that a generative task makes."""
        return self.path / "samples"

    @property
    def profile(self) -> Path:
        """The trace of `--profile`, for TensorBoard."""
        return self.path / "profile"

    @property
    def evaluation(self) -> Path:
        """Targets and outputs of the test split, and some of its examples."""
        return self.path / "evaluation"

    @property
    def export(self) -> Path:
        """The model in other formats."""
        return self.path / "export"

    @property
    def code(self) -> Path:
        """Copies of the user's `--code` files."""
        return self.path / "code"

    def is_run(self) -> bool:
        """Whether a run was started in this folder. A config.yaml alone may be the user's own."""
        others = (self.metadata, self.checkpoints, self.path / ".lock")
        # Not Path's own methods: they raise for a folder that may not be read.
        return os.path.isfile(self.config) and any(map(os.path.lexists, others))  # noqa: PTH113

    def has_checkpoint(self) -> bool:
        """Whether there is at least one complete checkpoint."""
        # A name that begins with a dot belongs to a checkpoint that is still being written.
        try:
            return any(self.checkpoints.glob(f"[!.]*/{MANIFEST}"))
        except OSError:
            return False

    def started(self) -> str:
        """When the run started (UTC, ISO 8601); the folder's modification time if meta.json does not have it."""
        started = read_json(self.metadata).get("started")
        return str(started) if started is not None else utc(self.path.stat().st_mtime)

    def name_prefix(self) -> str:
        """The run's name without date, time and number: from meta.json, else from the folder's name."""
        prefix = read_json(self.metadata).get("name_prefix")
        return prefix if isinstance(prefix, str) else _STAMP.sub("", self.path.name)

    def require_no_links(self) -> None:
        """Raises TfloopError (exit code 2) if a subfolder is a symbolic link: writes would land outside of the run."""
        for folder in (self.checkpoints, self.samples, self.evaluation, self.export, self.code, self.profile):
            if folder.is_symlink():
                raise TfloopError(f"{folder} is a link", hint="replace it by a folder inside the run folder")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Locks the run folder against a second trainer. The kernel releases the lock when the process ends.

        Without lock support in the file system, nothing is locked.

        Raises:
            TfloopError: another process holds the lock; the message names its pid and host (exit code 2); or a disk
                error (exit code 2 or 75).
        """
        with disk_errors(self.path):
            # O_NOFOLLOW: opening a link would truncate the file that it points to.
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
            file = open(descriptor, "a+", encoding="utf-8")  # noqa: SIM115
        with file:
            with disk_errors(self.path):
                acquire_lock(file, self.path)
                self._remove_temporary_files()
            yield

    def _remove_temporary_files(self) -> None:
        """Removes what the writes of a killed process left. Only the holder of the lock writes into the folder."""
        for folder in (self.path, self.code, self.samples, self.evaluation):
            for file in folder.glob(".*.tmp"):
                if _TEMPORARY.fullmatch(file.name):
                    file.unlink(missing_ok=True)


def create(runs_dir: Path, name_prefix: str, *, name: str | None = None, output: Path | None = None) -> RunFolder:
    """Creates the folder of a new run.

    Args:
        runs_dir: the parent folder of all runs; created if it does not exist.
        name_prefix: the folder is `<name_prefix>-YYYYMMDD-HHMMSS-xxxx` (local time) if `name` and `output` are None.
        name: the user's name for the run; `name-2`, `name-3` ... if it is taken.
        output: the run folder itself; it must be empty or not exist.

    Raises:
        TfloopError: the name is invalid, or `output` is not empty (exit code 2); a disk error (exit code 2 or 75).
    """
    if output is not None:
        return RunFolder(_empty_folder(output))
    if name == "last":
        raise TfloopError("`last` is reserved: it means the newest run", hint="choose another name")
    if name is not None and (Path(name).name != name or name == ".." or name.startswith("-")):
        raise TfloopError(f"--name {name!r} is not a valid folder name", hint="use letters, digits, '-', '_' and '.'")
    with disk_errors(runs_dir):
        runs_dir.mkdir(parents=True, exist_ok=True)
        for candidate in _numbered(name) if name else _stamped(name_prefix):
            try:
                (runs_dir / candidate).mkdir()
            except FileExistsError:
                continue
            sync_folder(runs_dir)
            return RunFolder(runs_dir / candidate)
    raise AssertionError("unreachable: candidates are unlimited")


def require_free(output: Path) -> None:
    """Raises TfloopError (exit code 2) if `output` cannot be the folder of a new run; called before slow work."""
    with disk_errors(output):
        if output.exists() and (not output.is_dir() or not _is_empty(output)):
            way_out = "use a folder that is empty or does not exist"
            if RunFolder(output).is_run():
                way_out += f", or continue the run in it: `tfloop resume {output}`"
            raise TfloopError(f"{output} is not an empty folder", hint=way_out)


def _is_empty(path: Path) -> bool:
    """Whether a folder is empty, or contains only what a start that was interrupted before config.yaml leaves."""
    names = {entry.name for entry in path.iterdir()}
    if ".lock" in names:
        run = RunFolder(path)
        names -= {".lock", "code", *(name for name in names if _TEMPORARY.fullmatch(name))}
        names -= {one.name for one in (run.checkpoints, run.samples) if one.is_dir() and not any(one.iterdir())}
        names -= {run.metrics.name} if run.metrics.is_file() and not run.metrics.stat().st_size else set()
        names -= {run.summary.name} if run.metrics.name not in names else set()  # of a start that failed
    return not names


def find(name: str, runs_dir: Path, warn: Callable[[str], None] = lambda line: None) -> Path:
    """Returns the run folder or checkpoint folder (see `is_checkpoint`) with that path or name.

    Args:
        name: the path of either, the name of a run in `runs_dir`, or `last`: the run that started last, by its
            meta.json, among those that have a checkpoint. A folder that is called "last" is `./last`.
        runs_dir: the parent folder of all runs.
        warn: prints a warning if `last` is not the newest run, since that has no checkpoint yet.

    Raises:
        TfloopError: nothing was found; the message suggests the nearest names (exit code 2).
    """
    if name == "last":
        return _newest(runs_dir, warn)
    for path in (Path(name), runs_dir / name):
        if is_checkpoint(path) or RunFolder(path).is_run():
            return path
    if os.path.exists(name):  # noqa: PTH110
        with disk_errors(Path(name)):
            os.scandir(name if os.path.isdir(name) else ".").close()  # noqa: PTH112 (the reason may be a permission)
        raise TfloopError(
            f"{name} is neither a run folder nor a checkpoint folder",
            hint=f"a run folder contains config.yaml, a checkpoint folder contains {MANIFEST}",
        )
    names = [run.path.name for run in list_runs(runs_dir)]
    near = get_close_matches(Path(name).name, names, n=3, cutoff=0.4) or names[:3]
    raise TfloopError(
        f"{name}: no such run in {runs_dir}, and no such folder",
        hint=f"did you mean {' or '.join(f'`{one}`' for one in near)}?" if near else f"there are no runs in {runs_dir}",
    )


def run_of(checkpoint: Path) -> RunFolder:
    """Returns the run folder that a checkpoint folder is in, as a path that is relative if `checkpoint` is."""
    return RunFolder((checkpoint if len(checkpoint.parts) > 2 else checkpoint.resolve()).parents[1])


def list_runs(runs_dir: Path) -> list[RunFolder]:
    """Returns all runs in `runs_dir`, newest first; none if it does not exist. What cannot be read is skipped.

    Raises:
        TfloopError: `runs_dir` itself cannot be read (exit code 2 or 75).
    """
    found = []
    with disk_errors(runs_dir):
        entries = list(runs_dir.iterdir()) if os.path.lexists(runs_dir) else []
    for run in map(RunFolder, entries):
        with suppress(OSError):  # a run of another user, or one that was just removed
            if run.is_run() and not run.path.name.startswith(REMOVED):
                found.append((run.started(), run.path.name, run))
    return [run for *_, run in sorted(found, key=lambda one: one[:2], reverse=True)]


def newest_run(runs_dir: Path) -> RunFolder:
    """Returns the run that started last, also if it has no checkpoint yet. Raises TfloopError if there is none (2)."""
    if runs := list_runs(runs_dir):
        return runs[0]
    raise TfloopError(f"there are no runs in {runs_dir}", hint="`--runs-dir DIR` looks in another folder")


def _empty_folder(path: Path) -> Path:
    require_free(path)
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        sync_folder(path.parent)
    return path


def _stamped(name_prefix: str) -> Iterator[str]:
    name_prefix = re.sub(r"[^\w.-]+", "-", name_prefix).strip("-.") or "run"
    while True:
        yield f"{name_prefix}-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _numbered(name: str) -> Iterator[str]:
    yield name
    for number in count(2):
        yield f"{name}-{number}"


def _newest(runs_dir: Path, warn: Callable[[str], None]) -> Path:
    runs = list_runs(runs_dir)
    for run in runs:
        if run.has_checkpoint():
            if run != runs[0]:
                warn(f"{runs[0]} has no checkpoint yet: `last` is {run}")
            return run.path
    raise TfloopError(f"no run in {runs_dir} has a checkpoint yet", hint="`--runs-dir DIR` looks in another folder")
