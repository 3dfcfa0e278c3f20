"""Checkpoint folders: names, manifests and lookup. The state itself is read by `engine.checkpoints.storage`.

Nothing here needs TensorFlow or NumPy, so that commands can look at checkpoints quickly.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.files import read_file, sync_folder

MANIFEST = "manifest.json"  # a folder that contains it is a checkpoint
ENCODERS = "encoders.json"  # in a checkpoint whose dataset has encoders
SCHEMA = 3  # of the manifest and of the names in the state file
NO_STEP = -1  # stands for "no such step yet"
_NAME = re.compile(r"step-([0-9]{8,18})(?:-([0-9]{1,9}))?")
_REQUIRED = {  # keys of a manifest
    "step": int, "epoch": int, "best_step": int, "size": int, "sha256": str, "weights_sha256": str,
    "config": dict, "data": str, "code": dict, "run_id": str, "total_steps": int, "epoch_start": int,
    "train_examples": int,
}  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder with a verified manifest. The state file is verified when it is loaded.

    Attributes:
        path: the folder.
        manifest: the content of `manifest.json`.
    """

    path: Path
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Checkpoint":
        """Reads and verifies the manifest of a checkpoint.

        Raises:
            TfloopError: the manifest is missing or damaged (exit code 6).
        """
        try:
            content = read_file(path / MANIFEST)
            manifest = json.loads(content)
            if manifest["schema"] != SCHEMA:
                found = f"{manifest['schema']!r}, of tfloop {manifest['versions']['tfloop']}"
                raise damaged(
                    path,
                    f"{MANIFEST}: its schema is {found}, and this version of tfloop reads {SCHEMA}",
                    hint="use that version, or train a new run with the same config",
                )
            del manifest["checksum"]
            if manifest_bytes(manifest) != content:
                raise ValueError("its checksum is wrong")
            for key, kind in _REQUIRED.items():
                if type(manifest[key]) is not kind:
                    raise ValueError(f"its `{key}` is not of type {kind.__name__}")
            if (match := _NAME.fullmatch(path.name)) and int(match[1]) != manifest["step"]:
                raise ValueError(f"it belongs to step {manifest['step']}")
        except KeyError as error:
            raise damaged(path, f"{MANIFEST}: it has no {error}") from error
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise damaged(path, f"{MANIFEST}: {reason_of(error)}") from error
        return cls(path, manifest)

    def is_beyond(self, epochs: int) -> bool:
        """Whether it was saved after the end of that many epochs, be it within the next one."""
        done = self.manifest["epoch"]
        return bool(done > epochs or (done == epochs and self.manifest["step"] > self.manifest["epoch_start"]))

    def encoders(self) -> Mapping[str, Any] | None:
        """Returns how the data was encoded, verified against the manifest; None if the dataset has no encoders.

        Raises:
            TfloopError: the file is missing, damaged or replaced (exit code 6).
        """
        facts = self.manifest.get("encoders")
        if not facts:
            return None
        try:
            content = read_file(self.path / ENCODERS, facts["size"])
            if hashlib.sha256(content).hexdigest() != facts["sha256"]:
                raise ValueError("its sha256 differs from the manifest")
            return dict(json.loads(content))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise damaged(self.path, f"{ENCODERS}: {reason_of(error)}") from error

    def best(self) -> Path | None:
        """Returns the folder, next to this one, with the best weights so far.

        None if there is no best epoch yet, or its folder is missing.
        """
        best_step = self.manifest["best_step"]
        found = [path for path in list_checkpoints(self.path.parent) if step_of(path) == best_step]
        return found[-1] if found else None


def is_checkpoint(path: Path) -> bool:
    """Whether `path` is a checkpoint folder."""
    return os.path.isfile(path / MANIFEST)  # noqa: PTH113 (Path's own raises for a folder that may not be read)


def list_checkpoints(directory: Path) -> list[Path]:
    """Returns the checkpoint folders in a run's `checkpoints/`, oldest first; none if it does not exist.

    Raises:
        OSError: the folder cannot be read. It may have checkpoints: resuming must not start anew.
    """
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    found = [(match, directory / name) for name in names if (match := _NAME.fullmatch(name))]
    return [path for _, path in sorted(found, key=lambda item: (int(item[0][1]), int(item[0][2] or 1)))]


def find_checkpoint(directory: Path, which: str | None) -> Path:
    """Returns the folder of one checkpoint of a run.

    Args:
        directory: the run's `checkpoints/`.
        which: "best", "last", a step, a folder's name or its path; None for the best if there is one, else the last.

    Raises:
        TfloopError: there is no such checkpoint, or a manifest is damaged (exit code 6).
    """
    available = list_checkpoints(directory)
    if available and which in (None, "best") and (best := Checkpoint.open(available[-1]).best()):
        return best
    if available and which in (None, "last"):
        return available[-1]
    for path in reversed(available):
        if which == path.name or (which and which.isdigit() and step_of(path) == int(which)):
            return path
    for path in (Path(which), directory / which) if which else ():
        if is_checkpoint(path):
            return path
    raise TfloopError(
        f"there is no checkpoint {f'`{which}`' if which else 'yet'} in {directory}",
        hint=f"available: {', '.join(path.name for path in available) or 'none'}",
        code=ExitCode.CHECKPOINT,
    )


def step_of(path: Path) -> int:
    """Returns the step in the name of a checkpoint folder; -1 if the name has none."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else NO_STEP


def folder_name(step: int) -> str:
    """Returns the name of the checkpoint folder of a step."""
    return f"step-{step:08d}"


def remove_leftovers(directory: Path) -> None:
    """Removes what an interrupted save or removal left."""
    for pattern in (".staging-*", ".removed-*"):
        for path in directory.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def rename_as_backup(path: Path) -> None:
    """Renames a checkpoint to `aside-...`, so that no resume uses it and no later save removes it."""
    path.rename(unused_name(path.with_name(f"aside-{path.name}")))
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Removes a checkpoint. At every moment it is either complete or gone."""
    hidden = path.with_name(f".removed-{path.name}")
    path.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def unused_name(path: Path) -> Path:
    """Returns `path`, with a number appended if it exists already."""
    free, number = path, 2
    while os.path.lexists(free):
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """Returns the only valid content of `manifest.json`; a file that differs in one space counts as damaged."""
    checksum = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    return json.dumps({**manifest, "checksum": checksum}, indent=2).encode() + b"\n"


def damaged(
    path: Path,
    problem: str,
    hint: str = "use another one: `tfloop evaluate RUN --checkpoint STEP`, or `tfloop resume RUN --from STEP`",
) -> TfloopError:
    """Returns the error for a checkpoint that cannot be used (exit code 6)."""
    return TfloopError(f"checkpoint {path} cannot be used: {problem}", hint=hint, code=ExitCode.CHECKPOINT)


def reason_of(error: Exception) -> str:
    """Returns the message of an exception; of an OSError, without errno and path."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
