"""Removing run folders: only runs, never through links, and never half of one."""

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.files import disk_error, disk_errors, sync_folder
from tfloop_cli.runs.checkpoints import unused_name
from tfloop_cli.runs.folder import REMOVED, RunFolder
from tfloop_cli.runs.locking import is_locked
from tfloop_cli.runs.records import RunRecord, list_records, mapping


def require_removable(runs: Sequence[RunFolder], folders: Iterable[Path]) -> None:
    """Checks runs before any is removed.

    Args:
        runs: to be removed.
        folders: where runs may be that were started from them, besides the folders that the runs are in.

    Raises:
        TfloopError: one is no run folder or a link to one, is training, or a run that stays was started from it (exit
            code 2).
    """
    removed = {_real(run.path): run for run in runs}
    places = dict.fromkeys(map(_real, [*(path.parent for path in removed), *folders]))
    staying = [one for place in places if place.is_dir() for one in list_records(place)]
    dependents = [one for one in staying if _real(one.run.path) not in removed]
    problems = [problem for run in runs for problem in _problems(run, dependents)]
    if problems:
        raise TfloopError(problems=problems)


def remove_run(run: RunFolder) -> None:
    """Removes a run folder. At every moment it is either complete under its name, or gone from there.

    Raises:
        TfloopError: the run is training (exit code 2), or a file cannot be removed (exit code 2 or 75).
    """
    path = _place(run.path)
    hidden = unused_name(path.with_name(REMOVED + path.name))
    with run.lock(), disk_errors(path):
        path.rename(hidden)
    try:
        shutil.rmtree(hidden)
        sync_folder(path.parent)
    except OSError as error:
        raise TfloopError(
            f"{run} was renamed to {hidden}, and not all of its files can be removed: {error.strerror}",
            hint="remove that folder with the permissions of the files' owner",
            code=disk_error(error).code,
        ) from error


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Removes what a killed `remove_run` left in folders of runs."""
    for place in folders:
        for path in place.glob(f"{REMOVED}*"):
            if not path.is_symlink() and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)


def _problems(run: RunFolder, others: Iterable[RunRecord]) -> list[Problem]:
    path = _place(run.path)
    if path.is_symlink():
        return [Problem(f"{run} is a link to a run", hint=f"name the folder itself: {path.resolve()}")]
    if not run.is_run():
        return [Problem(f"{run} is not a complete run folder", hint="remove it by other means, such as `rm -r`")]
    if Path.cwd().is_relative_to(path):
        return [Problem(f"{run} is the current folder, or has it inside", hint="change to another folder first")]
    if is_locked(run.path):
        return [Problem(f"{run} is training", hint="wait until it ends, or stop it")]
    started = [one for one in others if _is_started_from(one, run)]
    return [Problem(f"{one.run} was started from {run}", hint="remove that run too, or keep both") for one in started]


def _is_started_from(record: RunRecord, run: RunFolder) -> bool:
    """Whether meta.json names the run: by its folder or, if that was moved, by its id."""
    origin = mapping(record.metadata.get("started_from"))
    path = origin.get("run")
    if isinstance(path, str) and os.path.isdir(path):  # noqa: PTH112 (Path's own raises for a folder that may not be read)
        return os.path.realpath(path) == os.path.realpath(run.path)
    run_id = RunRecord(run).metadata.get("run_id")
    return run_id is not None and origin.get("run_id") == run_id


def _place(path: Path) -> Path:
    """Returns the absolute path of a run folder that may be a link itself."""
    return path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
