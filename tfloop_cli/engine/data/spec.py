"""What a dataset is to the rest of the program: its splits, and the shape of one example."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.bad import leave_out, require_some, skipping
from tfloop_cli.errors import ExitCode, TfloopError


@dataclass(frozen=True)
class DataSpec:
    """What a model and a task may know of the data.

    Attributes:
        input_shape: shape of one input, without the batch: (height, width, channels) for an image; (None,) for text,
            whose batches are as long as their longest text.
        input_dtype: dtype on disk and in memory. uint8 images reach the model as floats in [0, 1].
        target_shape: shape of one target; () for a class or a single number.
        class_names: one name a class, in the order of the labels; empty where the targets are no classes.
        vocabulary: how many ids a token of a text may have, 0 (nothing) and 1 (unknown) included; 0 for other inputs.
    """

    input_shape: tuple[int | None, ...]
    input_dtype: str
    target_shape: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()
    vocabulary: int = 0

    @property
    def classes(self) -> int:
        """Number of classes; 0 where the targets are numbers."""
        return len(self.class_names)

    @property
    def outputs(self) -> int:
        """How many numbers a model must put out for one example: one a class, or one a number of the target."""
        return self.classes or int(np.prod(self.target_shape, dtype=np.int64))


class Source(Protocol):
    """One split, addressed by example."""

    def __len__(self) -> int: ...

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The examples at `indices` (int64 [batch]): inputs [batch, *input_shape] and targets [batch, *target_shape].

        Called while a tf.data function is traced, so that it becomes part of the graph.
        """
        ...


class ArraySource:
    """A split in memory: one row an example.

    Args:
        inputs: array [examples, *input_shape].
        targets: array [examples, *target_shape].
    """

    def __init__(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        with tf.device("CPU"):
            self.inputs = tf.convert_to_tensor(inputs)
            self.targets = tf.convert_to_tensor(targets)

    def __len__(self) -> int:
        return int(self.inputs.shape[0])

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.gather(self.inputs, indices), tf.gather(self.targets, indices)


@dataclass(frozen=True)
class Dataset:
    """What a registered dataset builder returns.

    Attributes:
        spec: shape of one example.
        splits: by name; `train` must be there to train, `test` to be scored at the end.
        fingerprint: tells two datasets apart; a checkpoint remembers it.
    """

    spec: DataSpec
    splits: Mapping[str, Source]
    fingerprint: str


def from_arrays(
    splits: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    class_names: Sequence[str] = (),
    fingerprint: str = "",
) -> Dataset:
    """A dataset out of arrays in memory.

    Args:
        splits: a split's name -> (inputs [examples, ...], targets [examples, ...]). Integer targets are classes.
        class_names: names for the classes; by default their numbers, up to the first split's largest label.
        fingerprint: see `Dataset`; by default taken from the arrays' bytes.

    Raises:
        TfloopError: what is no numbers, splits of different shapes or dtypes, an empty split, or labels out of range
            where these are not left out (exit code 4).
    """
    inputs, targets = next(iter(splits.values()))
    if np.issubdtype(targets.dtype, np.integer) and not class_names:
        class_names = [str(label) for label in range(int(targets.max(initial=0)) + 1)]
    spec = DataSpec(inputs.shape[1:], str(inputs.dtype), targets.shape[1:], tuple(class_names))
    for name, arrays in splits.items():
        _check_split(name, *arrays, spec, targets.dtype)
    splits = {name: _in_range(name, *arrays, spec) for name, arrays in splits.items()}
    return Dataset(
        spec=spec,
        splits={name: ArraySource(*arrays) for name, arrays in splits.items()},
        fingerprint=fingerprint or fingerprint_of(splits),
    )


def fingerprint_of(splits: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """sha256 over names, dtypes, shapes and bytes of all arrays."""
    digest = hashlib.sha256()
    for name, arrays in sorted(splits.items()):
        for array in arrays:
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _check_split(name: str, inputs: np.ndarray, targets: np.ndarray, spec: DataSpec, target_dtype: np.dtype) -> None:
    def refuse(problem: str) -> None:
        raise TfloopError(f"dataset split `{name}`: {problem}", code=ExitCode.DATA)

    for role, array, expected in (("inputs", inputs, spec.input_dtype), ("targets", targets, str(target_dtype))):
        if not _is_of_numbers(array):
            refuse(f"its {role} are of dtype {array.dtype}, which is no numbers")
        if str(array.dtype) != expected:
            refuse(f"its {role} are of dtype {array.dtype}, not {expected} as in the first split")
    if len(inputs) != len(targets):
        refuse(f"{len(inputs)} inputs but {len(targets)} targets")
    if not len(inputs):
        refuse("it is empty")
    if inputs.shape[1:] != spec.input_shape or targets.shape[1:] != spec.target_shape:
        refuse(f"shapes {inputs.shape[1:]} and {targets.shape[1:]}, not {spec.input_shape} and {spec.target_shape}")


def _is_of_numbers(array: np.ndarray) -> bool:
    try:
        dtype = tf.as_dtype(array.dtype)
    except TypeError:
        return False
    return dtype.is_floating or dtype.is_integer or dtype.is_bool


def _in_range(name: str, inputs: np.ndarray, targets: np.ndarray, spec: DataSpec) -> tuple[np.ndarray, np.ndarray]:
    """The examples whose label is one of the classes; the others are bad."""
    skip = skipping()  # asked first: whoever hands in arrays leaves bad ones out
    if not spec.classes:
        return inputs, targets
    wrong = (targets < 0) | (targets >= spec.classes)
    bad = wrong.reshape(len(targets), -1).any(axis=1)
    for number in np.flatnonzero(bad):
        label = targets[number][wrong[number]].flat[0]
        reason = f"example {number} has label {label}, not one from 0 to {spec.classes - 1}"
        leave_out(name, TfloopError(f"dataset split `{name}`: {reason}", code=ExitCode.DATA))
    require_some(name, int((~bad).sum()))
    return (inputs[~bad], targets[~bad]) if skip and bad.any() else (inputs, targets)
