"""What a checkpoint is on disk: every variable that a step changes, as data, complete or absent.

A folder with `state.safetensors` and `manifest.json`. It is written beside its place, file by file to the disk itself,
and renamed into place last: whoever finds it finds it whole. Nothing read from it can name code.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from tfloop_cli.engine.state import NEVER, TrainState
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.rundir import MANIFEST, read_file, sync_folder

SCHEMA = 1
STATE = "state.safetensors"
LARGEST_HEADER = 16 * 2**20  # bytes of the state's file besides the numbers
NAME = re.compile(r"step-([0-9]{8,18})(?:-([0-9]{1,9}))?")
KEYS = {  # what a manifest must hold
    "step": int, "epoch": int, "best_step": int, "size": int, "sha256": str, "weights_sha256": str,
    "config": dict, "data": str, "code": dict, "run_id": str, "horizon_steps": int,
}  # fmt: skip
TYPES = {  # safetensors' own reader knows no bfloat16
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "U32": np.uint32,
    "I32": np.int32, "U64": np.uint64, "I64": np.int64, "F16": np.float16, "F32": np.float32, "F64": np.float64,
    "BF16": ml_dtypes.bfloat16,
}  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """A copy of the state between two steps, which training no longer changes.

    Attributes:
        arrays: every variable by its name, C-contiguous (safetensors saves other layouts wrong without a word).
        facts: what the manifest says of it: step, epoch, best_step.
        weights: names of the arrays that `weights_sha256` is of, in order.
    """

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]
    weights: Sequence[str]

    @classmethod
    def of(cls, state: TrainState) -> "Snapshot":
        arrays = {name: np.array(variable.numpy(), order="C") for name, variable in state.variables().items()}
        facts = {"step": int(state.step), "epoch": int(state.epoch), "best_step": int(state.best_step)}
        return cls(arrays, facts, state.weight_names())

    def weights_sha256(self) -> str:
        """What `TrainState.weights_sha256` says of the same state."""
        digest = hashlib.sha256()
        for name in self.weights:
            digest.update(self.arrays[name])
        return digest.hexdigest()

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
            content = read_file(path / MANIFEST)
            manifest = json.loads(content)
            if manifest["schema"] != SCHEMA:
                raise ValueError(f"it has schema {manifest['schema']!r}, and this tfloop reads {SCHEMA}")
            del manifest["checksum"]
            if _manifest_bytes(manifest) != content:
                raise ValueError("its checksum is wrong")
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
            content = read_file(self.path / STATE, self.manifest["size"])
            if len(content) != self.manifest["size"]:
                raise ValueError(f"it has {len(content)} bytes, not {self.manifest['size']}")
            if hashlib.sha256(content).hexdigest() != self.manifest["sha256"]:
                raise ValueError("its sha256 is not the manifest's")
            return {
                name: np.frombuffer(view["data"], TYPES[view["dtype"]]).reshape(view["shape"])
                for name, view in deserialize(content)
            }
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise damaged(self.path, f"{STATE}: {_reason(error)}") from error

    def restore(self, state: TrainState) -> None:
        """Puts the checkpoint's values into `state`: all of them, or none.

        Raises:
            TfloopError: the checkpoint is damaged, or of another model (exit code 6).
        """
        variables = state.variables()
        room = sum(variable.dtype.size * variable.shape.num_elements() for variable in variables.values())
        if self.manifest["size"] > room + LARGEST_HEADER:  # which may be more than the memory holds
            raise self._other_model(f"it has {self.manifest['size']} bytes, and this model needs {room}")
        arrays = self.arrays()
        for name in sorted(arrays.keys() | variables.keys()):
            held, wanted = arrays.get(name), variables.get(name)
            if held is None or wanted is None:
                problem = f"it has no `{name}`" if held is None else f"it has `{name}`, which this model has not"
            elif (held.shape, held.dtype) != (tuple(wanted.shape), wanted.dtype.as_numpy_dtype):
                problem = f"`{name}` is {held.dtype} {held.shape} in it and {wanted.dtype.name} {wanted.shape} here"
            else:
                continue
            raise self._other_model(problem)
        for name, variable in variables.items():
            variable.assign(arrays[name])

    def _other_model(self, problem: str) -> TfloopError:
        return TfloopError(
            f"checkpoint {self.path} is of another model: {problem}",
            hint="build the model from the same config and the same code",
            code=ExitCode.CHECKPOINT,
        )


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
    if not directory.is_dir():
        directory.mkdir()
        sync_folder(directory.parent)
    staging = directory / f".staging-{os.getpid()}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        content = save(dict(snapshot.arrays))
        _write(staging / STATE, content)
        digest = hashlib.sha256(content).hexdigest()
        facts = {**snapshot.facts, "weights_sha256": snapshot.weights_sha256(), "size": len(content), "sha256": digest}
        manifest = {"schema": SCHEMA, **facts, **about}
        _write(staging / MANIFEST, _manifest_bytes(manifest))
        sync_folder(staging)
        # A step may be saved twice: before its validation, and after it.
        final = _free_name(directory / f"step-{snapshot.facts['step']:08d}")
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
    for path in (Path(which), directory / which) if which else ():
        if (path / MANIFEST).is_file():
            return path
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


def set_aside(path: Path) -> None:
    """Keeps a checkpoint under another name: no resume takes it unasked, and no save removes it."""
    path.rename(_free_name(path.with_name(f"aside-{path.name}")))
    sync_folder(path.parent)


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


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _write(file: Path, content: bytes) -> None:
    """Returns when the disk itself has it."""
    with file.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _free_name(path: Path) -> Path:
    """`path`, or where that is taken, with a number behind it."""
    free, number = path, 2
    while os.path.lexists(free):
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free
