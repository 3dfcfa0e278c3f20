"""Writes and reads checkpoint folders: a crash never leaves a half-written one.

A checkpoint is a folder with `state.safetensors` and `manifest.json`. It is written to a staging folder, flushed to
disk file by file, and renamed last. Nothing that is read from it can name code.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import tensorflow as tf

from tfloop_cli.engine.arrays import as_bytes
from tfloop_cli.engine.snapshot import Snapshot
from tfloop_cli.engine.state import TrainState
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.files import read_file, sync_folder
from tfloop_cli.runs.checkpoints import (
    ENCODERS,
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
SETTINGS = ("/learning_rate", "/scale")  # ends of the names of variables that depend on the config
MAX_HEADER_BYTES = 16 * 2**20  # of the state file
DTYPES = {  # of safetensors
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "U32": np.uint32,
    "I32": np.int32, "U64": np.uint64, "I64": np.int64, "F16": np.float16, "F32": np.float32, "F64": np.float64,
    "BF16": ml_dtypes.bfloat16,
}  # fmt: skip


def write_checkpoint(
    directory: Path, snapshot: Snapshot, facts: Mapping[str, Any], encoders: bytes | None = None
) -> Path:
    """Writes a checkpoint durably. Order of flushes: state, encoders, manifest, folder, rename, parent folder.

    Args:
        directory: the run's `checkpoints/`; created if it does not exist.
        snapshot: the training state.
        facts: the rest of the manifest: config, data, code, versions, machine.
        encoders: how the data is encoded, as JSON; None if the dataset has no encoders.

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
        size, digest = _write(staging / STATE, _safetensors(snapshot.arrays))
        files: dict[str, Any] = {"weights_sha256": snapshot.weights_sha256(), "size": size, "sha256": digest}
        if encoders is not None:
            files["encoders"] = dict(zip(("size", "sha256"), _write(staging / ENCODERS, [encoders]), strict=True))
        _write(staging / MANIFEST, [manifest_bytes({"schema": SCHEMA, **snapshot.facts, **files, **facts})])
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
        return _views(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise damaged(checkpoint.path, f"{STATE}: {reason_of(error)}") from error


class ModelMismatchError(TfloopError):
    """A checkpoint is not damaged, but does not match the model (exit code 6)."""

    def __init__(self, checkpoint: Checkpoint, problem: str, fingerprint: str | None) -> None:
        hint = "use the same code and the same version of tfloop as for training, or start a new run"
        if fingerprint not in (None, checkpoint.manifest["data"]):
            hint = (
                "the data, or how this version of tfloop reads it, has changed since: its classes, columns or words "
                "decide the size of the model; undo the change, or start a new run"
            )
        super().__init__(
            f"checkpoint {checkpoint.path} does not match this model: {problem}", hint=hint, code=ExitCode.CHECKPOINT
        )


def restore(
    checkpoint: Checkpoint,
    state: TrainState,
    trace: Callable[[], None] = lambda: None,
    *,
    fingerprint: str | None = None,
    new_learning_rate: bool = False,
) -> None:
    """Assigns the values of a checkpoint to `state`: all of them, or none.

    A run may change its precision, its schedule, and whether it has an EMA, so a variable that not all of them need may
    be missing on either side. A constant learning rate and a loss scale then keep their values in `state`, and an EMA
    starts anew from the weights.

    Args:
        checkpoint: to read.
        state: changed in place.
        trace: traces the training step, which adds the state's other variables; called if the checkpoint has some.
        fingerprint: of the data in use, for the message if the checkpoint does not match; None if it is not known.
        new_learning_rate: whether the state keeps its learning rate.

    Raises:
        TfloopError: the checkpoint is damaged (exit code 6).
        ModelMismatchError: the checkpoint does not match the model.
    """
    if checkpoint.manifest.get("other_variables"):
        trace()
    state.latest_snapshot = None
    size, most = checkpoint.manifest["size"], _most_bytes(state) + MAX_HEADER_BYTES
    if size > most:  # it could be larger than the memory
        raise ModelMismatchError(checkpoint, f"it has {size} bytes, and this model needs at most {most}", fingerprint)
    arrays = read_arrays(checkpoint)
    if new_learning_rate:
        arrays = {name: array for name, array in arrays.items() if not name.endswith("/learning_rate")}
    variables = state.variables()
    if problem := _mismatch(arrays, variables):
        raise ModelMismatchError(checkpoint, problem, fingerprint)
    for name in variables.keys() & arrays.keys():
        variables[name].assign(arrays[name])
    for name, optimizer in state.optimizers.items():
        if f"ema/{name}/0000" not in arrays:
            optimizer.restart_ema()


def _most_bytes(state: TrainState) -> int:
    """Returns the size of the state with an EMA of the weights, whether there is one or not."""
    variables = [*state.variables().values(), *(variable.value for variable in state.trainable_variables())]
    return sum(variable.dtype.size * variable.shape.num_elements() for variable in variables)


def _mismatch(arrays: Mapping[str, np.ndarray], variables: Mapping[str, tf.Variable]) -> str | None:
    """Returns why the arrays of a checkpoint cannot be assigned to the variables; None if they can."""
    for name in sorted(arrays.keys() | variables.keys()):
        array, variable = arrays.get(name), variables.get(name)
        if array is None or variable is None:
            if name.startswith("ema/") or name.endswith(SETTINGS):
                continue
            return f"it has no `{name}`" if array is None else f"it has `{name}`, which this model does not have"
        if (array.shape, array.dtype) != (tuple(variable.shape), variable.dtype.as_numpy_dtype):
            return f"`{name}` is {array.dtype} {array.shape} in it and {variable.dtype.name} {variable.shape} here"
    return None


def _safetensors(arrays: Mapping[str, np.ndarray]) -> Iterator[bytes | np.ndarray]:
    """Yields the parts of a safetensors file: its header, then array by array, so that no second copy is needed."""
    names = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
    in_order = sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0]))  # aligned without gaps
    header: dict[str, Any] = {}
    start = 0
    for name, array in in_order:
        end = start + array.nbytes
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
        start = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    yield len(encoded).to_bytes(8, "little") + encoded
    for _, array in in_order:
        yield as_bytes(array)


def _views(content: bytes) -> dict[str, np.ndarray]:
    """Returns the arrays in the content of a safetensors file, by name, without copying them.

    The library's own function copies each array, and knows no bfloat16.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError: it is not such a file.
    """
    data = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:data])
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        dtype, shape, (start, end) = np.dtype(DTYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
        if any(type(number) is not int or number < 0 for number in (*shape, start, end)):
            raise ValueError(f"`{name}` has a negative shape or place")
        if math.prod(shape) * dtype.itemsize != end - start or data + end > len(content):
            raise ValueError(f"`{name}` has another size than its shape")
        arrays[name] = np.frombuffer(content, dtype, math.prod(shape), data + start).reshape(shape)
    return arrays


def _write(file: Path, parts: Iterable[bytes | np.ndarray]) -> tuple[int, str]:
    """Writes a file and flushes it to disk; returns its size in bytes and its sha256."""
    digest, size = hashlib.sha256(), 0
    with file.open("xb") as stream:
        for part in parts:
            stream.write(part)
            digest.update(part)
            size += len(part)
        stream.flush()
        os.fsync(stream.fileno())
    return size, digest.hexdigest()
