"""Decodes TFDS records into examples, in order or by random access."""

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils.shard_utils import FileInstruction

from tfloop_cli.engine.data.cache import cached
from tfloop_cli.engine.data.invalid_examples import (
    collect_invalid_examples,
    require_valid_examples,
    skip_example,
    skips_invalid_examples,
)
from tfloop_cli.engine.data.spec import DataSpec
from tfloop_cli.engine.data.tfds_files import (
    DAMAGE,
    READ_AT_ONCE,
    READ_ERRORS,
    Split,
    one_line,
    records,
    recover,
    stamps,
    unreadable,
)
from tfloop_cli.errors import ExitCode, TfloopError


@dataclass(frozen=True)
class Example:
    """How a record is decoded into an input and a target.

    Attributes:
        features: the two features to decode; the others are ignored.
        input, target: the names of these two, dotted for nested ones.
        input_shape: of one input; None for a height or width that differs between examples.
        input_dtype: uint8, float32 or float64, or string for texts.
        target_shape: of one target; () for a class or a single number.
        target_dtype: int32 for a class, else float32 or float64.
        class_names: empty if the targets are not classes.
        size: height and width to which images are resized; None: no resizing.
    """

    features: tfds.features.FeaturesDict
    input: str
    target: str
    input_shape: tuple[int | None, ...]
    input_dtype: tf.DType
    target_shape: tuple[int, ...]
    target_dtype: tf.DType
    class_names: tuple[str, ...]
    size: tuple[int, int] | None

    @property
    def spec(self) -> DataSpec:
        """The shape of the data, for models and tasks."""
        return DataSpec(self.input_shape, self.input_dtype.name, self.target_shape, self.class_names)

    @property
    def bytes(self) -> int:
        """The size of one example in memory, in bytes."""
        arrays = [(self.input_shape, self.input_dtype), (self.target_shape, self.target_dtype)]
        return sum(int(np.prod(shape, dtype=np.int64)) * dtype.size for shape, dtype in arrays)

    def decode(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Decodes a serialized tf.Example, string [], into an input and a target."""
        values = self.features.deserialize_example(record)
        inputs, targets = inner(values, self.input), inner(values, self.target)
        if self.size:
            resized = tf.image.resize(inputs, self.size, antialias=True)
            inputs = tf.saturate_cast(tf.round(resized), inputs.dtype) if inputs.dtype.is_integer else resized
        return tf.cast(inputs, self.input_dtype), tf.cast(targets, self.target_dtype)

    def with_shape_of(self, split: Split) -> "Example":
        """Returns a copy with the input shape of the split's first example, if the dataset declares no fixed shape.

        Raises:
            TfloopError: no example can be decoded, or an invalid one is not skipped (exit code 4).
        """
        if None not in self.input_shape:
            return self
        with collect_invalid_examples(skips_invalid_examples()):  # a later pass counts the skipped ones
            for file in split.files:
                for _, _, _, shapes in _decode_file(split, file, 0, self):
                    return replace(self, input_shape=tuple(int(length) for length in shapes[0]))
        raise unreadable(split, split.files[0], "it contains no valid examples")


def inner(values: Mapping[str, Any], name: str) -> Any:
    """Returns a value of nested mappings by its dotted name; raises KeyError if there is none."""
    for part in (name,) if name in values else name.split("."):
        if not isinstance(values, Mapping):
            raise KeyError(name)
        values = values[part]
    return values


def is_unlabelled(split: Split, example: Example) -> bool:
    """Whether the first examples of a split have the label -1, as the splits of TFDS without labels have."""
    if not example.class_names:
        return False
    with collect_invalid_examples(skip=True):
        for _, _, targets, _ in _decode_file(split, split.files[0], 0, example):
            return bool((targets == -1).all())
    return False


def load(split: Split, example: Example) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns all valid examples of a split, in the order of its files.

    Returns:
        inputs [examples, *input_shape], targets [examples, *target_shape] and their indices in the split [examples].

    Raises:
        TfloopError: a file cannot be read, an invalid example is not skipped, or all are invalid (exit code 4).
    """
    inputs = np.empty((split.examples, *example.input_shape), example.input_dtype.as_numpy_dtype)
    targets = np.empty((split.examples, *example.target_shape), example.target_dtype.as_numpy_dtype)
    valid_indices, done = np.empty(split.examples, np.int64), 0
    for indices, block_inputs, block_targets in _valid(split, example):
        end = done + len(indices)
        valid_indices[done:end], inputs[done:end], targets[done:end] = indices, block_inputs, block_targets
        done = end
    require_valid_examples(split.name, done)
    return inputs[:done], targets[:done], valid_indices[:done]


def valid_example_indices(split: Split, example: Example) -> np.ndarray:
    """Returns the indices of the valid examples of a split, int64 [valid]. Needs a pass over all; the result is cached.

    Raises:
        TfloopError: a file cannot be read, or all examples are invalid (exit code 4).
    """
    about = f"validity of {split.name} examples in {split.folder}"

    def blocks() -> Iterator[np.ndarray]:
        print(f"validating {split.examples:,} {split.name} examples", file=sys.stderr, flush=True)
        flags = np.zeros(split.examples, np.uint8)
        for indices, _, _ in _valid(split, example):
            flags[indices] = 1
        yield flags

    identity = (stamps(split), example.input, example.target, example.spec, example.size, tf.__version__)
    with collect_invalid_examples(skip=True) as found:
        fingerprint = hashlib.sha256(repr(identity).encode()).hexdigest()
        rows = cached(fingerprint, about, (split.examples,), "uint8", blocks)
        flags = rows.array if rows is not None else np.concatenate(list(blocks()))
    for index in np.flatnonzero(flags == 0):
        reason = found.reasons.get(split.name, f"split `{split.name}`: example {index} is invalid")
        error = TfloopError(reason, code=ExitCode.DATA)
        skip_example(split.name, error, places=[f"split `{split.name}`: example {index}"])
    require_valid_examples(split.name, int(flags.sum()))
    return np.flatnonzero(flags)


def _valid(split: Split, example: Example) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields indices, inputs and targets of the valid examples, in order, several at a time."""
    first = 0
    for file in split.files:
        for indices, inputs, targets, shapes in _decode_file(split, file, first, example):
            valid = np.ones(len(indices), bool)
            for position, error in _invalid(split, indices, targets, shapes, example):
                skip_example(split.name, error)
                valid[position] = False
            # An input of another shape enlarges its whole batch, so the others are cropped to their shape.
            yield indices[valid], inputs[valid][(slice(None), *map(slice, example.input_shape))], targets[valid]
        first += file.take


def _decode_file(split: Split, file: FileInstruction, first: int, example: Example) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields indices, inputs, targets and the shapes of the inputs, several examples at a time.

    Smaller inputs are padded with zeros to the largest shape. Records that cannot be decoded are skipped.

    Args:
        split: the split of the file.
        file: the file, and which of its examples belong to the split.
        first: the index in the split of the file's first example.
        example: decodes a record.
    """

    def decode(record: tf.Tensor) -> tuple[tf.Tensor, ...]:
        inputs, targets = example.decode(record)
        return inputs, targets, tf.shape(inputs)

    done = 0
    try:
        decoded = records(split, file).skip(file.skip).take(file.take).map(decode, tf.data.AUTOTUNE, deterministic=True)
        for block in decoded.padded_batch(READ_AT_ONCE).as_numpy_iterator():
            yield first + done + np.arange(len(block[0])), *block
            done += len(block[0])
    except READ_ERRORS:
        pass  # the others are decoded one by one, to find the invalid ones
    if done < file.take:
        yield from _decode_one_by_one(split, file, first, done, tf.function(decode))


def _decode_one_by_one(
    split: Split, file: FileInstruction, first: int, done: int, decode: Callable[[bytes], tuple[tf.Tensor, ...]]
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields the same as `_decode_file`, from the file's example `done` on, and skips damaged records."""
    found = islice(recover(split, file), file.skip, None)
    for index in range(file.take):
        record = next(found, None)
        if record is None:
            error = unreadable(split, file, f"it contains {index} of its {file.take} examples")
            skip_example(split.name, error, count=file.take - max(index, done))
            return
        if index < done:
            continue
        try:
            if isinstance(record, Exception):
                raise record
            block = decode(tf.constant(record))
        except DAMAGE as error:
            skip_example(split.name, unreadable(split, file, f"example {first + index}: {one_line(error)}"))
        else:
            yield np.array([first + index]), *(value.numpy()[None] for value in block)


def _invalid(
    split: Split, indices: np.ndarray, targets: np.ndarray, shapes: np.ndarray, example: Example
) -> Iterator[tuple[int, TfloopError]]:
    """Yields the position in the block and the error of each example with another shape or a label out of range."""
    for position in np.flatnonzero((shapes != example.input_shape).any(axis=1)):
        yield (
            position,
            TfloopError(
                f"split `{split.name}`: the images have different shapes: {_format_shape(example.input_shape)}, and "
                f"{_format_shape(shapes[position])} in example {indices[position]}",
                hint="resize all images with `--set dataset.size=[HEIGHT,WIDTH]`",
                code=ExitCode.DATA,
            ),
        )
    for position in np.flatnonzero(out_of_range(targets, example) & (shapes == example.input_shape).all(axis=1)):
        yield position, invalid_label(split, indices[position], targets[position], example)


def _format_shape(shape: Sequence[int | None]) -> str:
    return "x".join(str(length) for length in shape)


def out_of_range(targets: np.ndarray, example: Example) -> np.ndarray:
    """Returns whether each label is outside the range of the classes, bool [examples]."""
    classes = len(example.class_names)
    return (targets < 0) | (targets >= classes) if classes else np.zeros(len(targets), bool)


def invalid_label(split: Split, index: int, label: int, example: Example) -> TfloopError:
    """Returns the error (exit code 4) for the label of the split's example `index`."""
    last = len(example.class_names) - 1
    return TfloopError(
        f"split `{split.name}`: example {index} has label {label}, which is not in 0 to {last}",
        hint="if this split has no labels, exclude it with `--set dataset.splits=[train,...]`",
        code=ExitCode.DATA,
    )
