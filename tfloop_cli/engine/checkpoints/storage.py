"""Writes and reads checkpoint folders: a crash never leaves a half-written one.

A checkpoint is a folder with `state.safetensors` and `manifest.json`. It is written to a staging folder, flushed to
disk file by file, and renamed last. Nothing that is read from it can name code.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from tfloop_cli.engine.state import TrainState
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.files import read_file, sync_folder
from tfloop_cli.runs.checkpoints import (
    MANIFEST,
    SCHEMA,
    Checkpoint,
    damaged,
    folder_name,
    manifest_bytes,
    reason_of,
    unused_name,
)

STATE = "state.safetensors"
MAX_HEADER_BYTES = 16 * 2**20  # of the state file
DTYPES = {  # the reader of safetensors does not support bfloat16
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "U32": np.uint32,
    "I32": np.int32, "U64": np.uint64, "I64": np.int64, "F16": np.float16, "F32": np.float32, "F64": np.float64,
    "BF16": ml_dtypes.bfloat16,
}  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """A copy of the training state between two steps.

    Attributes:
        arrays: every variable by its name, C-contiguous (safetensors writes other layouts wrong without an error).
        facts: the manifest's step, epoch and best_step.
        weights: names of the arrays that `weights_sha256` covers, in order.
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
        """Returns the same as `TrainState.weights_sha256` for the same state."""
        digest = hashlib.sha256()
        for name in self.weights:
            digest.update(self.arrays[name])
        return digest.hexdigest()

    def require_finite(self) -> None:
        """Raises TfloopError if a value in models or optimizers is not finite (exit code 5)."""
        for name, array in self.arrays.items():
            if array.dtype.kind in "fV" and not name.startswith("loop/") and not np.isfinite(array).all():
                raise TfloopError(
                    f"after step {self.facts['step']}, `{name}` has non-finite values; it is not saved",
                    hint="the last good checkpoint is kept; lower `optimizer.learning_rate` or set `clip_norm: 1.0`",
                    code=ExitCode.DIVERGED,
                )


def write_checkpoint(directory: Path, snapshot: Snapshot, facts: Mapping[str, Any]) -> Path:
    """Writes a checkpoint durably. Order of flushes: state, manifest, folder, rename, parent folder.

    Args:
        directory: the run's `checkpoints/`; created if it does not exist.
        snapshot: the training state.
        facts: the rest of the manifest: config, data, code, versions, machine.

    Returns:
        The new folder, `step-` and the number of completed steps.

    Raises:
        OSError: a disk error; existing checkpoints are unchanged.
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
        files = {"weights_sha256": snapshot.weights_sha256(), "size": len(content), "sha256": digest}
        _write(staging / MANIFEST, manifest_bytes({"schema": SCHEMA, **snapshot.facts, **files, **facts}))
        sync_folder(staging)
        # A step may be saved twice: before its validation, and after it.
        final = unused_name(directory / folder_name(snapshot.facts["step"]))
        staging.rename(final)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    sync_folder(directory)
    return final


def read_arrays(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Returns the arrays of a checkpoint by name, verified against the manifest.

    Raises:
        TfloopError: the state file is missing, damaged or replaced (exit code 6).
    """
    size = checkpoint.manifest["size"]
    try:
        content = read_file(checkpoint.path / STATE, size)
        if len(content) != size:
            raise ValueError(f"it has {len(content)} bytes, not {size}")
        if hashlib.sha256(content).hexdigest() != checkpoint.manifest["sha256"]:
            raise ValueError("its sha256 differs from the manifest")
        return {
            name: np.frombuffer(view["data"], DTYPES[view["dtype"]]).reshape(view["shape"])
            for name, view in deserialize(content)
        }
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise damaged(checkpoint.path, f"{STATE}: {reason_of(error)}") from error


class ModelMismatchError(TfloopError):
    """A checkpoint is not damaged, but does not match the model (exit code 6)."""

    def __init__(self, checkpoint: Checkpoint, problem: str) -> None:
        super().__init__(
            f"checkpoint {checkpoint.path} does not match this model: {problem}",
            hint="use the same config and the same code as for training",
            code=ExitCode.CHECKPOINT,
        )


def restore(checkpoint: Checkpoint, state: TrainState) -> None:
    """Assigns the values of a checkpoint to `state`: all of them, or none.

    Raises:
        TfloopError: the checkpoint is damaged (exit code 6).
        ModelMismatchError: the checkpoint does not match the model.
    """
    variables, size = state.variables(), checkpoint.manifest["size"]
    expected = sum(variable.dtype.size * variable.shape.num_elements() for variable in variables.values())
    if size > expected + MAX_HEADER_BYTES:  # it could be larger than the memory
        raise ModelMismatchError(checkpoint, f"it has {size} bytes, and this model needs {expected}")
    arrays = read_arrays(checkpoint)
    for name in sorted(arrays.keys() | variables.keys()):
        array, variable = arrays.get(name), variables.get(name)
        if array is None or variable is None:
            problem = f"it has no `{name}`" if array is None else f"it has `{name}`, which this model does not have"
        elif (array.shape, array.dtype) != (tuple(variable.shape), variable.dtype.as_numpy_dtype):
            problem = f"`{name}` is {array.dtype} {array.shape} in it and {variable.dtype.name} {variable.shape} here"
        else:
            continue
        raise ModelMismatchError(checkpoint, problem)
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _write(file: Path, content: bytes) -> None:
    """Writes a file and flushes it to disk."""
    with file.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
