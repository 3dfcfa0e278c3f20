"""Records as TFDS writes them: what an example of them is, and ways to read them, in order or by their numbers."""

import hashlib
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils.lazy_imports_utils import array_record_data_source
from tensorflow_datasets.core.utils.shard_utils import FileInstruction

from tfloop_cli.engine.data.bad import leave_out, opening, require_some, skipping
from tfloop_cli.engine.data.cache import cached
from tfloop_cli.engine.data.spec import DataSpec
from tfloop_cli.engine.data.tfds_files import (
    DAMAGE,
    READ_AT_ONCE,
    READ_ERRORS,
    Split,
    check_file,
    fetch,
    one_line,
    records,
    salvage,
    stamps,
    unreadable,
)
from tfloop_cli.errors import ExitCode, TfloopError

BATCHES_REMEMBERED = 8  # of those read last, to find the example that could not be decoded


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
        with opening(skipping()):  # what is left out here is counted when all is read
            for file in split.files:
                for _, _, _, shapes in _decoded(split, file, 0, self):
                    return replace(self, input_shape=tuple(int(length) for length in shapes[0]))
        raise unreadable(split, split.files[0], "there is no example in it")


def load(split: Split, example: Example) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All of a split but for bad examples, in the order of its files.

    Returns:
        inputs [examples, *input_shape], targets [examples, *target_shape] and their numbers in the split [examples].

    Raises:
        TfloopError: a file that cannot be read; a bad example that is not to be left out (exit code 4).
    """
    inputs = np.empty((split.examples, *example.input_shape), example.input_dtype.as_numpy_dtype)
    targets = np.empty((split.examples, *example.target_shape), example.target_dtype.as_numpy_dtype)
    kept, done = np.empty(split.examples, np.int64), 0
    for numbers, some_inputs, some_targets in _good(split, example):
        last = done + len(numbers)
        kept[done:last], inputs[done:last], targets[done:last] = numbers, some_inputs, some_targets
        done = last
    require_some(split.name, done)
    return inputs[:done], targets[:done], kept[:done]


def numbers_of_good(split: Split, example: Example) -> np.ndarray:
    """Which examples of a split are good, int64 [good]. It takes a pass over all; the cache keeps what comes out."""
    about = f"which {split.name} examples under {split.folder} are good"

    def blocks() -> Iterator[np.ndarray]:
        print(f"looking for bad ones among {split.examples:,} {split.name} examples", file=sys.stderr, flush=True)
        flags = np.zeros(split.examples, np.uint8)
        for numbers, _, _ in _good(split, example):
            flags[numbers] = 1
        yield flags

    told = (stamps(split), example.input, example.target, example.spec, example.size, tf.__version__)
    with opening(skip=True) as found:
        fingerprint = hashlib.sha256(repr(told).encode()).hexdigest()
        rows = cached(fingerprint, about, (split.examples,), "uint8", blocks)
        flags = rows.array if rows is not None else np.concatenate(list(blocks()))
    for number in np.flatnonzero(flags == 0):
        reason = found.reasons.get(split.name, f"split `{split.name}`: example {number} could not be used")
        leave_out(split.name, TfloopError(reason, code=ExitCode.DATA))
    require_some(split.name, int(flags.sum()))
    return np.flatnonzero(flags)


def _good(split: Split, example: Example) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Numbers, inputs and targets of the good examples, in order, some at a time; the bad ones are left out."""
    first = 0
    for file in split.files:
        for numbers, inputs, targets, shapes in _decoded(split, file, first, example):
            good = np.ones(len(numbers), bool)
            for place, error in _wrong(split, numbers, targets, shapes, example):
                leave_out(split.name, error)
                good[place] = False
            # One of another shape has made all of its batch larger.
            yield numbers[good], inputs[good][(slice(None), *map(slice, example.input_shape))], targets[good]
        first += file.take


def _decoded(split: Split, file: FileInstruction, first: int, example: Example) -> Iterator[tuple[np.ndarray, ...]]:
    """Numbers, inputs, targets and the inputs' shapes, some examples at a time; smaller inputs are padded with zeros.

    Args:
        split: the file's.
        file: read from its beginning.
        first: its first example's number in the split.
        example: what a record becomes.
    """

    def decode(record: tf.Tensor) -> tuple[tf.Tensor, ...]:
        inputs, targets = example.decode(record)
        return inputs, targets, tf.shape(inputs)

    done = 0
    try:
        read = records(split, file).take(file.take).map(decode, tf.data.AUTOTUNE, deterministic=True)
        for block in read.padded_batch(READ_AT_ONCE).as_numpy_iterator():
            yield first + done + np.arange(len(block[0])), *block
            done += len(block[0])
    except READ_ERRORS:
        pass  # the rest is read one by one, to tell which is bad
    if done < file.take:
        yield from _one_by_one(split, file, first, done, tf.function(decode))


def _one_by_one(
    split: Split, file: FileInstruction, first: int, done: int, decode: Callable[[bytes], tuple[tf.Tensor, ...]]
) -> Iterator[tuple[np.ndarray, ...]]:
    """The same, beginning with the file's example `done`, whatever is damaged: that is left out."""
    found = salvage(split, file)
    for number in range(file.take):
        record = next(found, None)
        if record is None:
            error = unreadable(split, file, f"it holds {number} of its {file.take} examples")
            leave_out(split.name, error, count=file.take - max(number, done))
            return
        if number < done:
            continue
        try:
            if isinstance(record, Exception):
                raise record
            block = decode(tf.constant(record))
        except DAMAGE as error:
            leave_out(split.name, unreadable(split, file, f"example {first + number}: {one_line(error)}"))
        else:
            yield np.array([first + number]), *(value.numpy()[None] for value in block)


def _wrong(
    split: Split, numbers: np.ndarray, targets: np.ndarray, shapes: np.ndarray, example: Example
) -> Iterator[tuple[int, TfloopError]]:
    """Examples that are not like the others: their places among these, and what is wrong."""
    for place in np.flatnonzero((shapes != example.input_shape).any(axis=1)):
        yield (
            place,
            TfloopError(
                f"split `{split.name}`: the images are of several shapes, {_by(example.input_shape)} and, in example "
                f"{numbers[place]}, {_by(shapes[place])}",
                hint="bring all to one size: `--set dataset.size=[HEIGHT,WIDTH]`",
                code=ExitCode.DATA,
            ),
        )
    for place in np.flatnonzero(_out_of_range(targets, example) & (shapes == example.input_shape).all(axis=1)):
        yield place, _bad_label(split, numbers[place], targets[place], example)


def _by(shape: Sequence[int | None]) -> str:
    return "x".join(str(length) for length in shape)


def _out_of_range(targets: np.ndarray, example: Example) -> np.ndarray:
    """Whether each label is none of the classes, bool [examples]."""
    classes = len(example.class_names)
    return (targets < 0) | (targets >= classes) if classes else np.zeros(len(targets), bool)


def _bad_label(split: Split, number: int, label: int, example: Example) -> TfloopError:
    return TfloopError(
        f"split `{split.name}`: example {number} has label {label}, not one from 0 to {len(example.class_names) - 1}",
        hint="if this split has no labels, read the others only: `--set dataset.splits=[train,...]`",
        code=ExitCode.DATA,
    )


class RecordSource:
    """A split in array_record files, read by the numbers of its examples.

    Args:
        split: its files; each is opened once, to see that it is whole.
        example: of a known shape.
        numbers: of those examples that are not left out; None for all.

    Raises:
        TfloopError: a file is missing or cut short (exit code 4).
    """

    def __init__(self, split: Split, example: Example, numbers: np.ndarray | None = None) -> None:
        for file in split.files if numbers is None else ():
            check_file(split, file)
        self._failure: TfloopError | None = None
        self._last_read: deque[np.ndarray] = deque(maxlen=BATCHES_REMEMBERED)
        self._split, self._example = split, example
        self._numbers = numbers if numbers is not None else np.arange(split.examples)
        self._source = array_record_data_source.ArrayRecordDataSource(list(split.files))

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def failure(self) -> TfloopError | None:
        """Why a read inside the graph failed; TensorFlow's error carries no more than its text."""
        if self._failure is None and self._last_read:
            self._failure = self._explained(np.concatenate(list(self._last_read)))
        return self._failure

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`: one read of all records, then each decoded."""
        example, batch = self._example, indices.shape[0]
        outputs = (
            tf.TensorSpec(example.input_shape, example.input_dtype),
            tf.TensorSpec(example.target_shape, example.target_dtype),
        )
        found = tf.ensure_shape(tf.numpy_function(self._read, [indices], tf.string), [batch])
        inputs, targets = tf.map_fn(example.decode, found, fn_output_signature=outputs)
        targets = tf.numpy_function(self._checked, [indices, targets], example.target_dtype)
        return inputs, tf.ensure_shape(targets, [batch, *example.target_shape])

    def _read(self, indices: np.ndarray) -> np.ndarray:
        numbers = self._numbers[indices]
        self._last_read.append(numbers)
        try:
            return fetch(self._source, numbers)
        except READ_ERRORS as error:
            self._failure = self._explained(numbers) or unreadable(self._split, self._split.files[0], one_line(error))
            raise self._failure from error

    def _checked(self, indices: np.ndarray, targets: np.ndarray) -> np.ndarray:
        for place in np.flatnonzero(_out_of_range(targets, self._example)):
            self._failure = _bad_label(self._split, self._numbers[indices[place]], targets[place], self._example)
            raise self._failure
        return targets

    def _explained(self, numbers: np.ndarray) -> TfloopError | None:
        """Reads one by one, to find the file and the example; None where nothing is wrong with these."""
        ends = np.cumsum([file.take for file in self._split.files])
        for number in numbers:
            file = self._split.files[int(np.searchsorted(ends, number, side="right"))]
            try:
                self._example.decode(tf.constant(fetch(self._source, [number])[0]))
            except READ_ERRORS as error:
                return unreadable(self._split, file, f"example {number}: {one_line(error)}")
        return None
