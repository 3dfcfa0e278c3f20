"""What a checkpoint is on disk: every variable that a step changes, as data, complete or absent.

A folder with `state.safetensors` and `manifest.json`. It is written beside its place, file by file to the disk itself, and
renamed into place last: whoever finds it finds it whole. Nothing read from it can name code.
"""

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  safetensors needs it to know bfloat16
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tfloop_cli.engine.state import NEVER, TrainState
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.rundir import MANIFEST, sync_folder

SCHEMA = 1
STATE = "state.safetensors"
LARGEST_MANIFEST = 16 * 2**20  # bytes; a larger one was not written by tfloop
NAME = re.compile(r"step-(\d{8,18})(?:-(\d{1,9}))?")
KEYS = {  # what a manifest must hold
    "step": int, "epoch": int, "best_step": int, "size": int, "sha256": str, "weights_sha256": str,
    "config": dict, "data": str, "code": dict, "run_id": str, "horizon_steps": int,
}  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """A copy of the state between two steps, which training no longer changes.

    Attributes:
        arrays: every variable by its name, C-contiguous (safetensors saves other layouts wrong without a word).
        facts: what the manifest says of it: step, epoch, weights_sha256.
    """

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, state: TrainState) -> "Snapshot":
        arrays = {name: np.array(variable.numpy(), order="C") for name, variable in state.variables().items()}
        facts = {"step": int(state.step), "epoch": int(state.epoch), "best_step": int(state.best_step)}
        return cls(arrays, facts | {"weights_sha256": state.weights_sha256()})

    def require_finite(self) -> None:
        """Raises TfloopError if a weight or a number of the optimizer is not finite (exit code 5)."""
        for name, array in self.arrays.items():
            if array.dtype.kind in "fV" and not name.startswith("loop/") and not np.isfinite(array).all():
                raise TfloopError(
                    f"after step {self.facts['step']}, `{name}` holds numbers that are not finite; it is not saved",
                    hint="the last good checkpoint is kept; lower `optimizer.learning_rate` or set `clip_norm: 1.0`",
                    code=ExitCode.DIVERGED,
                )


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder whose manifest has been read and verified; its state is verified when it is loaded.

    Attributes:
        path: the folder.
        manifest: what `manifest.json` says.
    """

    path: Path
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Checkpoint":
        """Reads a checkpoint's manifest.

        Raises:
            TfloopError: there is none, or it is damaged (exit code 6).
        """
        try:
            content = _read(path / MANIFEST, LARGEST_MANIFEST)
            manifest = json.loads(content)
            if manifest["schema"] != SCHEMA:
                raise ValueError(f"it has schema {manifest['schema']!r}, and this tfloop reads {SCHEMA}")
            checksum = manifest.pop("checksum")
            if _manifest_bytes(manifest) != content:
                raise ValueError(f"its checksum is not {checksum}")
            for key, kind in KEYS.items():
                if type(manifest[key]) is not kind:
                    raise ValueError(f"its `{key}` is no {kind.__name__}")
            if (match := NAME.fullmatch(path.name)) and int(match[1]) != manifest["step"]:
                raise ValueError(f"it is of step {manifest['step']}")
        except KeyError as error:
            raise damaged(path, f"{MANIFEST}: it has no {error}") from error
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise damaged(path, f"{MANIFEST}: {_reason(error)}") from error
        return cls(path, manifest)

    def arrays(self) -> dict[str, np.ndarray]:
        """The state's arrays by name, verified against the manifest.

        Raises:
            TfloopError: the file is missing, damaged or another one (exit code 6).
        """
        try:
            content = _read(self.path / STATE, self.manifest["size"])
            if len(content) != self.manifest["size"]:
                raise ValueError(f"it has {len(content)} bytes, not {self.manifest['size']}")
            if hashlib.sha256(content).hexdigest() != self.manifest["sha256"]:
                raise ValueError("its sha256 is not the manifest's")
            return load(content)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise damaged(self.path, f"{STATE}: {_reason(error)}") from error

    def restore(self, state: TrainState) -> None:
        """Puts the checkpoint's values into `state`: all of them, or none.

        Raises:
            TfloopError: the checkpoint is damaged, or of another model (exit code 6).
        """
        arrays, variables = self.arrays(), state.variables()
        for name in sorted(arrays.keys() | variables.keys()):
            held, wanted = arrays.get(name), variables.get(name)
            if held is None or wanted is None:
                problem = f"it has no `{name}`" if held is None else f"it has `{name}`, which this model has not"
            elif (held.shape, held.dtype) != (tuple(wanted.shape), wanted.dtype.as_numpy_dtype):
                problem = f"`{name}` is {held.dtype} {held.shape} in it and {wanted.dtype.name} {wanted.shape} here"
            else:
                continue
            raise TfloopError(
                f"checkpoint {self.path} is of another model: {problem}",
                hint="build the model from the same config and the same code",
                code=ExitCode.CHECKPOINT,
            )
        for name, variable in variables.items():
            variable.assign(arrays[name])


def commit(directory: Path, snapshot: Snapshot, about: Mapping[str, Any]) -> Path:
    """Writes a checkpoint durably: state, manifest, folder, rename, parent; in this order each is on the disk itself.

    Args:
        directory: the run's `checkpoints/`; made if it is not there.
        snapshot: what to write.
        about: what the manifest says besides: config, data, code, versions, machine.

    Returns:
        The new folder, `step-` and the number of steps done.

    Raises:
        OSError: the disk refuses; what was there before is untouched.
    """
    directory.mkdir(exist_ok=True)
    staging = directory / f".staging-{os.getpid()}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        content = save(dict(snapshot.arrays))
        _write(staging / STATE, content)
        digest = hashlib.sha256(content).hexdigest()
        manifest = {"schema": SCHEMA, **snapshot.facts, "size": len(content), "sha256": digest, **about}
        _write(staging / MANIFEST, _manifest_bytes(manifest))
        sync_folder(staging)
        final = _free_name(directory, snapshot.facts["step"])
        staging.rename(final)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    sync_folder(directory)
    return final


def list_checkpoints(directory: Path) -> list[Path]:
    """The checkpoint folders of a run, oldest first."""
    found = [(match, path) for path in directory.glob("step-*") if (match := NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, key=lambda item: (int(item[0][1]), int(item[0][2] or 1)))]


def choose(directory: Path, which: str | None) -> Path:
    """The folder of one of a run's checkpoints.

    Args:
        directory: the run's `checkpoints/`.
        which: "best", "last", a step, a folder's name or its path; None for the best where there is one, else the last.

    Raises:
        TfloopError: there is no such checkpoint (exit code 6).
    """
    there = list_checkpoints(directory)
    if there and which in (None, "best") and (best := best_of(Checkpoint.open(there[-1]))):
        return best
    if there and which in (None, "last"):
        return there[-1]
    for path in reversed(there):
        if which == path.name or (which and which.isdigit() and step_of(path) == int(which)):
            return path
    if which and (Path(which) / MANIFEST).is_file():
        return Path(which)
    raise TfloopError(
        f"there is no checkpoint {f'`{which}`' if which else 'yet'} in {directory}",
        hint=f"there is {', '.join(path.name for path in there) or 'none'}",
        code=ExitCode.CHECKPOINT,
    )


def best_of(checkpoint: Checkpoint) -> Path | None:
    """The folder beside a checkpoint that holds the best weights so far; None where no validation chose any."""
    wanted = checkpoint.manifest["best_step"]
    found = [path for path in list_checkpoints(checkpoint.path.parent) if step_of(path) == wanted]
    return found[-1] if found else None


def step_of(path: Path) -> int:
    """The step that a checkpoint folder's name says."""
    match = NAME.fullmatch(path.name)
    return int(match[1]) if match else NEVER


def sweep(directory: Path) -> None:
    """Removes what an interrupted save or removal left behind."""
    for pattern in (".staging-*", ".removed-*"):
        for path in directory.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def remove(path: Path) -> None:
    """Removes a checkpoint; it is whole or gone at every moment in between."""
    hidden = path.with_name(f".removed-{path.name}")
    path.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def damaged(path: Path, problem: str) -> TfloopError:
    """The error of a checkpoint that cannot be used."""
    return TfloopError(
        f"checkpoint {path} is missing or damaged: {problem}",
        hint="take another checkpoint of the run: `--checkpoint last`, `best` or a step",
        code=ExitCode.CHECKPOINT,
    )


def _manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """The one way to write a manifest: a file of other bytes is damaged, were it by a single space."""
    checksum = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    return json.dumps({**manifest, "checksum": checksum}, indent=2).encode() + b"\n"


def _read(file: Path, largest: int) -> bytes:
    """A regular file's bytes; never waits for a pipe, and never reads more than `largest` bytes."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a file")
    if status.st_size > largest:
        raise ValueError(f"it has {status.st_size} bytes, more than {largest}")
    with file.open("rb") as stream:
        return stream.read(largest)


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _write(file: Path, content: bytes) -> None:
    """Returns when the disk itself has it."""
    with file.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _free_name(directory: Path, step: int) -> Path:
    """`step-00002345`, or with a number behind it where that step was saved before, in the midst of its validation."""
    path, number = directory / f"step-{step:08d}", 2
    while path.exists():
        path, number = directory / f"step-{step:08d}-{number}", number + 1
    return path
