"""The interface of a dataset: its splits, and the shape of one example."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.invalid_examples import require_valid_examples, skip_example, skips_invalid_examples
from tfloop_cli.errors import ExitCode, TfloopError


@dataclass(frozen=True)
class DataSpec:
    """The shape of the data, for models and tasks.

    Attributes:
        input_shape: shape of one input, without the batch: (height, width, channels) for an image; (None,) for text,
            which is padded to the longest text of the batch.
        input_dtype: dtype on disk and in memory. The model receives uint8 images as floats in [0, 1].
        target_shape: shape of one target; () for a class or a single number.
        class_names: one name per class, in the order of the labels; empty if the targets are not classes.
        vocabulary: number of token ids of a text, 0 (padding) and 1 (unknown) included; 0 for other inputs.
    """

    input_shape: tuple[int | None, ...]
    input_dtype: str
    target_shape: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()
    vocabulary: int = 0

    @property
    def classes(self) -> int:
        """The number of classes; 0 if the targets are numbers."""
        return len(self.class_names)

    @property
    def outputs(self) -> int:
        """The number of outputs of a model per example: one per class, or one per number of the target."""
        return self.classes or int(np.prod(self.target_shape, dtype=np.int64))


class Source(Protocol):
    """One split, with random access by index."""

    def __len__(self) -> int: ...

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the examples at `indices`: inputs [batch, *input_shape] and targets [batch, *target_shape].

        Called while a graph is traced, so that it becomes part of the graph.

        Args:
            indices: int64 [batch].
        """
        ...


class ArraySource:
    """A split in memory: one row per example.

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
    """What the builder of a dataset returns.

    Attributes:
        spec: shape of one example.
        splits: by name; `train` is required for training, `test` for the evaluation at the end.
        fingerprint: identifies the data; stored in checkpoints.
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
    """Returns a dataset of arrays in memory.

    Args:
        splits: name of a split -> (inputs [examples, ...], targets [examples, ...]). Integer targets are classes.
        class_names: names of the classes; by default their numbers, up to the largest label of the first split.
        fingerprint: see `Dataset`; by default computed from the arrays.

    Raises:
        TfloopError: an array is not numeric, splits differ in shape or dtype, a split is empty, or labels are out of
            range and invalid examples are not skipped (exit code 4).
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
    """Returns the sha256 over names, dtypes, shapes and bytes of all arrays."""
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
        if not _is_numeric(array):
            refuse(f"its {role} have dtype {array.dtype}, which is not numeric")
        if str(array.dtype) != expected:
            refuse(f"its {role} have dtype {array.dtype}, not {expected} as in the first split")
    if len(inputs) != len(targets):
        refuse(f"it has {len(inputs)} inputs but {len(targets)} targets")
    if not len(inputs):
        refuse("it is empty")
    if inputs.shape[1:] != spec.input_shape or targets.shape[1:] != spec.target_shape:
        refuse(
            f"its shapes are {inputs.shape[1:]} and {targets.shape[1:]}, not {spec.input_shape} and {spec.target_shape}"
        )


def _is_numeric(array: np.ndarray) -> bool:
    try:
        dtype = tf.as_dtype(array.dtype)
    except TypeError:
        return False
    return dtype.is_floating or dtype.is_integer or dtype.is_bool


def _in_range(name: str, inputs: np.ndarray, targets: np.ndarray, spec: DataSpec) -> tuple[np.ndarray, np.ndarray]:
    """Returns the examples with a label that is one of the classes; the others are invalid."""
    skip = skips_invalid_examples()  # called first: arrays always support skipping
    if not spec.classes:
        return inputs, targets
    wrong = (targets < 0) | (targets >= spec.classes)
    invalid = wrong.reshape(len(targets), -1).any(axis=1)
    for number in np.flatnonzero(invalid):
        label = targets[number][wrong[number]].flat[0]
        reason = f"example {number} has label {label}, which is not in 0 to {spec.classes - 1}"
        skip_example(name, TfloopError(f"dataset split `{name}`: {reason}", code=ExitCode.DATA))
    require_valid_examples(name, int((~invalid).sum()))
    return (inputs[~invalid], targets[~invalid]) if skip and invalid.any() else (inputs, targets)
