"""The interface of a dataset: its splits, and the shape of one example."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfloop_cli.engine.data.encoders import Column, Encoders
from tfloop_cli.engine.data.invalid_examples import require_valid_examples, skip_example, skips_invalid_examples
from tfloop_cli.errors import ExitCode, TfloopError

MIN_SIDE = 8  # pixels: inputs [height, width] are an image if both have as many
CHANNELS = (1, 3, 4)  # of an image [height, width, channels], or of several [frames, height, width, channels]


@dataclass(frozen=True)
class DataSpec:
    """The shape of the data, for models and tasks.

    Attributes:
        input_shape: shape of one input, without the batch: (height, width, channels) for an image; (None,) for text,
            which is padded to the longest text of the batch.
        input_dtype: dtype on disk and in memory. The model receives uint8 images as floats in [0, 1]; see `is_image`.
        target_shape: shape of one target; () or (1,) for a class or a single number.
        class_names: one name per class, in the order of the labels; empty if the targets are not classes.
        vocabulary: number of token ids of a text, 0 (padding) and 1 (unknown) included; 0 for other inputs.
        one_hot: whether the targets are classes with one number per class, [classes]: 1 for the class, else 0.
        columns: of a table: what each feature of the inputs [features] is, in order; empty for other inputs.
    """

    input_shape: tuple[int | None, ...]
    input_dtype: str
    target_shape: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()
    vocabulary: int = 0
    one_hot: bool = False
    columns: tuple[Column, ...] = ()

    @property
    def classes(self) -> int:
        """The number of classes; 0 if the targets are numbers."""
        return len(self.class_names)

    @property
    def outputs(self) -> int:
        """The number of outputs of a model per example: one per class, or one per number of the target."""
        return self.classes or int(np.prod(self.target_shape, dtype=np.int64))

    @property
    def is_image(self) -> bool:
        """Whether one input has the shape of an image, or of several: see `MIN_SIDE` and `CHANNELS`."""
        if len(self.input_shape) == 2:
            return all(length is None or length >= MIN_SIDE for length in self.input_shape)
        return len(self.input_shape) > 2 and self.input_shape[-1] in CHANNELS

    def model_inputs(self, inputs: tf.Tensor, dtype: str, *, scale_uint8: bool) -> tf.Tensor:
        """Returns inputs as the model receives them: floats, images and booleans in `dtype`, other integers as ints."""
        if inputs.dtype == tf.uint8 and scale_uint8:
            # Not a division: TensorFlow replaces it by this product in some graphs only, with different rounding.
            return tf.cast(inputs, dtype) * (1 / 255)
        if inputs.dtype == tf.uint8 and not self.is_image:  # ids, counts
            return tf.cast(inputs, tf.int32)
        return tf.cast(inputs, dtype) if not inputs.dtype.is_integer or inputs.dtype == tf.uint8 else inputs

    def labels_of(self, targets: tf.Tensor) -> tf.Tensor:
        """Returns the class of each example, int32 [batch], from targets [batch, *target_shape]."""
        if self.one_hot:
            return tf.argmax(tf.cast(targets, tf.float32), axis=-1, output_type=tf.int32)
        labels = tf.cast(targets, tf.int32)  # the losses do not support uint8
        return labels[:, 0] if self.target_shape == (1,) else labels


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
        encoders: how the examples are encoded, if the run must keep it to encode others alike.
    """

    spec: DataSpec
    splits: Mapping[str, Source]
    fingerprint: str
    encoders: Encoders | None = None


def from_arrays(
    splits: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    class_names: Sequence[str] = (),
    fingerprint: str = "",
) -> Dataset:
    """Returns a dataset of arrays in memory.

    Args:
        splits: name of a split -> (inputs [examples, ...], targets [examples, ...]), arrays or lists. Integers and
            booleans are classes, and so are targets of any dtype if each is one-hot: [examples, classes].
        class_names: names of the classes; by default their numbers, up to the largest label of the first split.
        fingerprint: see `Dataset`; by default computed from the arrays.

    Raises:
        TfloopError: an array is not numeric, splits differ in shape or dtype, a split is empty, or labels are out of
            range and invalid examples are not skipped (exit code 4).
    """
    arrays = {
        name: (_array(name, "inputs", inputs), _array(name, "targets", targets))
        for name, (inputs, targets) in splits.items()
    }
    inputs, targets = next(iter(arrays.values()))
    one_hot = _is_one_hot(targets) and len(class_names) in (0, *targets.shape[1:])
    if one_hot and not class_names:
        class_names = [str(label) for label in range(targets.shape[1])]
    elif targets.dtype == np.bool_ and targets.shape[1:] in ((), (1,)) and not class_names:
        class_names = ["false", "true"]
    elif np.issubdtype(targets.dtype, np.integer) and not class_names:
        class_names = [str(label) for label in range(int(targets.max(initial=0)) + 1)]
    spec = DataSpec(inputs.shape[1:], str(inputs.dtype), targets.shape[1:], tuple(class_names), one_hot=one_hot)
    for name, pair in arrays.items():
        _check_split(name, *pair, spec, targets.dtype)
    arrays = {name: _in_range(name, *pair, spec) for name, pair in arrays.items()}
    return Dataset(
        spec=spec,
        splits={name: ArraySource(*pair) for name, pair in arrays.items()},
        fingerprint=fingerprint or fingerprint_of(arrays),
    )


def fingerprint_of(splits: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """Returns the sha256 over names, dtypes, shapes and bytes of all arrays."""
    digest = hashlib.sha256()
    for name, arrays in sorted(splits.items()):
        for array in arrays:
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _array(split: str, role: str, values: ArrayLike) -> np.ndarray:
    """Returns an array; lists of numbers become int64 or float32."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise TfloopError(f"dataset split `{split}`: its {role} are no array: {error}", code=ExitCode.DATA) from error
    return array.astype(np.float32) if isinstance(values, list | tuple) and array.dtype == np.float64 else array


def _is_one_hot(targets: np.ndarray) -> bool:
    """Whether each row has one 1 and otherwise 0: [examples, classes] of two classes and more."""
    if targets.ndim != 2 or targets.shape[1] < 2 or not len(targets) or not _is_numeric(targets):
        return False
    return not _not_one_hot(targets).any()


def _not_one_hot(targets: np.ndarray) -> np.ndarray:
    """Returns which rows are not one-hot: bool [examples]."""
    ones = targets == 1
    return (ones.sum(axis=1) != 1) | ~(ones | (targets == 0)).all(axis=1)


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
    wrong = _not_one_hot(targets)[:, None] if spec.one_hot else (targets < 0) | (targets >= spec.classes)
    invalid = wrong.reshape(len(targets), -1).any(axis=1)
    for number in np.flatnonzero(invalid):
        if spec.one_hot:
            reason = f"the target of example {number} is not one-hot, as those of the first split are"
        else:
            label = targets[number][wrong[number]].flat[0]
            reason = f"example {number} has label {label}, which is not in 0 to {spec.classes - 1}"
        skip_example(name, TfloopError(f"dataset split `{name}`: {reason}", code=ExitCode.DATA))
    require_valid_examples(name, int((~invalid).sum()))
    return (inputs[~invalid], targets[~invalid]) if skip and invalid.any() else (inputs, targets)
