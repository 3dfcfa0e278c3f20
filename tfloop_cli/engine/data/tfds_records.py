"""Records as TFDS writes them: what an example of them is, and ways to read them, in order or by their numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import file_adapters
from tensorflow_datasets.core.utils.lazy_imports_utils import array_record_data_source
from tensorflow_datasets.core.utils.shard_utils import FileInstruction

from tfloop_cli.engine.data.spec import DataSpec
from tfloop_cli.errors import ExitCode, TfloopError

ARRAY_RECORD = file_adapters.FileFormat.ARRAY_RECORD
READ_AT_ONCE = 64  # examples; of images of any size, so many have to fit into memory
# What the readers raise at files that are missing, cut short or changed, or of a format whose package is not there.
_READ_ERRORS = (tf.errors.OpError, RuntimeError, ValueError, OSError, ImportError)


@dataclass(frozen=True)
class Split:
    """One split's files.

    Attributes:
        name: as the builder has it.
        files: TFDS's own words on each: path, number of examples.
        file_format: of all of them.
    """

    name: str
    files: Sequence[FileInstruction]
    file_format: file_adapters.FileFormat

    @property
    def examples(self) -> int:
        """How many there are, as the dataset says."""
        return sum(file.take for file in self.files)


@dataclass(frozen=True)
class Example:
    """How a record becomes an input and a target.

    Attributes:
        features: those two of the dataset's features; nothing else is decoded.
        input, target: their names.
        input_shape: of one input; None where each example has its own height or width.
        input_dtype: uint8, float32 or float64.
        target_dtype: int32 for a class, else float32 or float64.
        class_names: empty where the target is numbers.
        size: height and width that images are resized to.
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
        """As the rest of the program knows it."""
        return DataSpec(self.input_shape, self.input_dtype.name, self.target_shape, self.class_names)

    @property
    def bytes(self) -> int:
        """What one takes in memory."""
        numbers = [(self.input_shape, self.input_dtype), (self.target_shape, self.target_dtype)]
        return sum(int(np.prod(shape, dtype=np.int64)) * dtype.size for shape, dtype in numbers)

    def decode(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A serialized tf.Example, string [], as input and target."""
        values = self.features.deserialize_example(record)
        inputs, targets = values[self.input], values[self.target]
        if self.size:
            resized = tf.image.resize(inputs, self.size, antialias=True)
            inputs = tf.saturate_cast(tf.round(resized), inputs.dtype) if inputs.dtype.is_integer else resized
        return tf.cast(inputs, self.input_dtype), tf.cast(targets, self.target_dtype)

    def with_shape_of(self, split: Split) -> "Example":
        """The same, with the shape that the split's first example has, where the dataset does not say one."""
        if None not in self.input_shape:
            return self
        for _, _, shapes in _decoded(split, split.files[0], self):
            return replace(self, input_shape=tuple(int(length) for length in shapes[0]))
        raise _unreadable(split, split.files[0], "it is empty")


def load(split: Split, example: Example) -> tuple[np.ndarray, np.ndarray]:
    """All of a split, in the order of its files: inputs [examples, *input_shape], targets [examples, *target_shape].

    Raises:
        TfloopError: a file that cannot be read, images of several shapes, or a label out of range (exit code 4).
    """
    inputs = np.empty((split.examples, *example.input_shape), example.input_dtype.as_numpy_dtype)
    targets = np.empty((split.examples, *example.target_shape), example.target_dtype.as_numpy_dtype)
    done = 0
    for file in split.files:
        first = done
        for some_inputs, some_targets, shapes in _decoded(split, file, example):
            numbers = np.arange(done, done + len(shapes))
            _check_shapes(split, numbers, shapes, example)
            _check_labels(split, numbers, some_targets, example)
            inputs[numbers], targets[numbers] = some_inputs, some_targets
            done += len(shapes)
        if done - first != file.take:
            raise _unreadable(split, file, f"it holds {done - first} of its {file.take} examples")
    return inputs, targets


def _decoded(split: Split, file: FileInstruction, example: Example) -> Iterator[tuple[np.ndarray, ...]]:
    """Inputs, targets and the inputs' shapes, READ_AT_ONCE examples at a time; smaller inputs are padded with zeros."""

    def decode(record: tf.Tensor) -> tuple[tf.Tensor, ...]:
        inputs, targets = example.decode(record)
        return inputs, targets, tf.shape(inputs)

    try:
        records = _records(split, file).take(file.take).map(decode, tf.data.AUTOTUNE, deterministic=True)
        yield from records.padded_batch(READ_AT_ONCE).as_numpy_iterator()
    except _READ_ERRORS as error:
        raise _unreadable(split, file, one_line(error)) from error


def _records(split: Split, file: FileInstruction) -> tf.data.Dataset:
    """A file's records in order, string []."""
    if split.file_format is not ARRAY_RECORD:
        return file_adapters.ADAPTER_FOR_FORMAT[split.file_format].make_tf_data(file.filename)
    source = array_record_data_source.ArrayRecordDataSource([file.filename])

    def read(first: np.int64) -> np.ndarray:
        return _fetch(source, range(first, min(first + READ_AT_ONCE, len(source))))

    firsts = tf.data.Dataset.range(0, len(source), READ_AT_ONCE)
    return firsts.map(lambda first: tf.ensure_shape(tf.numpy_function(read, [first], tf.string), [None])).unbatch()


def _fetch(source: Any, numbers: Sequence[int]) -> np.ndarray:
    """Records by their numbers: bytes [len(numbers)], as objects, since NumPy's own bytes lose zeros at the end."""
    records = source.__getitems__(list(numbers))
    if not all(records):  # what array_record gives for a file that was cut short
        raise ValueError("there are records missing")
    return np.array(records, object)


def _check_shapes(split: Split, numbers: np.ndarray, shapes: np.ndarray, example: Example) -> None:
    wrong = np.flatnonzero((shapes != example.input_shape).any(axis=1))
    if wrong.size:
        raise TfloopError(
            f"split `{split.name}`: the images are of several shapes, {_by(example.input_shape)} and, in example "
            f"{numbers[wrong[0]]}, {_by(shapes[wrong[0]])}",
            hint="bring all to one size: `--set dataset.size=[HEIGHT,WIDTH]`",
            code=ExitCode.DATA,
        )


def _by(shape: Sequence[int | None]) -> str:
    return "x".join(str(length) for length in shape)


def _check_labels(split: Split, numbers: np.ndarray, targets: np.ndarray, example: Example) -> None:
    classes = len(example.class_names)
    wrong = np.flatnonzero((targets < 0) | (targets >= classes)) if classes else np.empty(0)
    if wrong.size:
        number, label = numbers[wrong[0]], targets[wrong[0]]
        raise TfloopError(
            f"split `{split.name}`: example {number} has label {label}, not one from 0 to {classes - 1}",
            hint="if this split has no labels, read the others only: `--set dataset.splits=[train,...]`",
            code=ExitCode.DATA,
        )


def _unreadable(split: Split, file: FileInstruction, reason: str) -> TfloopError:
    return TfloopError(
        f"split `{split.name}`: {file.filename} cannot be read: {reason}",
        hint="if it is damaged, move the dataset's folder away to have it prepared anew",
        code=ExitCode.DATA,
    )


def one_line(error: Exception) -> str:
    """What an exception says, in one line of bearable length that begins with its type."""
    words = " ".join(str(error).split("Traceback (most recent call last)")[0].split())
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return text if len(text) <= 1000 else f"{text[:1000]} ..."


class RecordSource:
    """A split in array_record files, read by the numbers of its examples.

    Args:
        split: its files; each is opened once, to see that it is whole.
        example: of a known shape.

    Attributes:
        failure: what was wrong when a read inside the graph failed; TensorFlow's error carries no more than its text.

    Raises:
        TfloopError: a file is missing or cut short (exit code 4).
    """

    def __init__(self, split: Split, example: Example) -> None:
        for file in split.files:
            _check_file(split, file)
        self.failure: TfloopError | None = None
        self._split = split
        self._example = example
        self._source = array_record_data_source.ArrayRecordDataSource(list(split.files))

    def __len__(self) -> int:
        return self._split.examples

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`: one read of all records, then each decoded."""
        example, batch = self._example, indices.shape[0]
        outputs = (
            tf.TensorSpec(example.input_shape, example.input_dtype),
            tf.TensorSpec(example.target_shape, example.target_dtype),
        )
        records = tf.ensure_shape(tf.numpy_function(self._read, [indices], tf.string), [batch])
        inputs, targets = tf.map_fn(example.decode, records, fn_output_signature=outputs)
        targets = tf.numpy_function(self._checked, [indices, targets], example.target_dtype)
        return inputs, tf.ensure_shape(targets, [batch, *example.target_shape])

    def _read(self, indices: np.ndarray) -> np.ndarray:
        try:
            return _fetch(self._source, indices)
        except _READ_ERRORS as error:
            self.failure = self._explained(indices, error)
            raise self.failure from error

    def _checked(self, indices: np.ndarray, targets: np.ndarray) -> np.ndarray:
        try:
            _check_labels(self._split, indices, targets, self._example)
        except TfloopError as failure:
            self.failure = failure
            raise
        return targets

    def _explained(self, indices: np.ndarray, error: Exception) -> TfloopError:
        """Reads one by one, to find the file."""
        ends = np.cumsum([file.take for file in self._split.files])
        for index in indices:
            file = self._split.files[int(np.searchsorted(ends, index, side="right"))]
            try:
                _fetch(self._source, [index])
            except _READ_ERRORS as cause:
                return _unreadable(self._split, file, one_line(cause))
        return _unreadable(self._split, self._split.files[0], one_line(error))


def _check_file(split: Split, file: FileInstruction) -> None:
    try:
        held = len(array_record_data_source.ArrayRecordDataSource([file.filename]))
    except _READ_ERRORS as error:
        raise _unreadable(split, file, one_line(error)) from error
    if held != file.take:
        raise _unreadable(split, file, f"it holds {held} of its {file.take} examples")
