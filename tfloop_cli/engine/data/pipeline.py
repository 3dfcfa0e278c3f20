"""Batches with addresses: training batch k is a pure function of (seed, k).

The shuffle is global and needs no buffer, no thread decides the order, and going on at step k is asking for it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, Self

import numpy as np
import tensorflow as tf

from tfloop_cli.config import Config
from tfloop_cli.engine.data.bad import opening
from tfloop_cli.engine.data.spec import ArraySource, Dataset, DataSpec, Source
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import augmentations, datasets

PREFETCHED_BATCHES = 4
HELD_OUT_KEY = 0x74666C6F6F70  # the held-out examples do not depend on the run's seed


class Feed(Protocol):
    """Training batches one after the other, drawn inside the inner loop's graph; see `Data.feed`.

    Attributes:
        batches: what the graph takes as an argument and asks for the `next` batch.
    """

    batches: Iterator[tuple[tf.Tensor, tf.Tensor]]

    def turn_to(self, epoch: int) -> None:
        """Before the first batch of an epoch, counted from 0, and wherever in it training goes on."""
        ...

    def go_to(self, step: int) -> None:
        """Makes the batch of that step, counted from 0 over the whole run, the next one; for the epoch turned to."""
        ...


class Data:
    """A dataset as the loop needs it: training batches by their number, other splits in order.

    Args:
        dataset: its splits; `train` must be there.
        config: batch size, seed, validation, augmentation, precision.

    Attributes:
        left_out: a split's name -> its bad examples that were left out; see `on_bad_example`.
        notes: a line for each of these splits.
    """

    def __init__(self, dataset: Dataset, config: Config) -> None:
        self.spec: DataSpec = dataset.spec
        self.fingerprint = dataset.fingerprint
        self.left_out: Mapping[str, int] = {}
        self.notes: Sequence[str] = ()
        self._config = config
        self._dtype = config.precision if config.precision == "float64" else "float32"
        self._augment: list[Callable[..., tf.Tensor]] = [augmentations.build(item) for item in config.augment]
        self._parts = _divide(dataset, config.validation)
        if not self.steps_per_epoch:
            raise TfloopError(
                f"`batch_size` is {config.batch_size}, and there are {self.examples('train')} examples to train on: "
                "with `drop_remainder` no batch is left",
                hint="lower `batch_size`",
            )
        if self._augment and len(self.spec.input_shape) != 3:
            raise TfloopError(
                f"`augment` changes images, and this dataset's inputs have shape {self.spec.input_shape}",
                hint="take `augment` out of the config",
            )

    @property
    def splits(self) -> list[str]:
        """Names of the splits, "validation" among them where some of the training split is held out."""
        return sorted(self._parts)

    def examples(self, split: str) -> int:
        """How many examples a split has; 0 where there is no such split."""
        return len(self._parts[split][1]) if split in self._parts else 0

    @property
    def steps_per_epoch(self) -> int:
        """Training batches in an epoch, the ragged last one included unless the config drops it."""
        whole, rest = divmod(self.examples("train"), self._config.batch_size)
        return whole + (rest > 0 and not self._config.drop_remainder)

    def batches(self, first_step: int, last_step: int) -> tf.data.Dataset:
        """Training batches `first_step` to `last_step` - 1, counted from 0 over the whole run.

        Each is a pair: inputs, float [batch, *input_shape]; targets, [batch, *target_shape].
        """
        steps, size = self.steps_per_epoch, self._config.batch_size
        _, members = self._parts["train"]

        def indices_of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            order = tf.numpy_function(self.order, [epoch], tf.int64)
            order = tf.ensure_shape(order, [len(members)])
            first, last = epoch * steps, tf.minimum((epoch + 1) * steps, last_step)
            numbers = tf.data.Dataset.range(tf.maximum(first, first_step), last)
            return numbers.map(lambda k: (k, order[(k - first) * size : (k - first + 1) * size]))

        def load(step: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            inputs, targets = self.load_training(indices)
            for number, augment in enumerate(self._augment):
                inputs = augment(inputs, [self._config.seed * 1024 + number, tf.cast(step, tf.int32)])
            return inputs, targets

        epochs = tf.data.Dataset.range(first_step // steps, -(-last_step // steps))
        return self._finish(epochs.flat_map(indices_of_epoch).map(load, num_parallel_calls=self._parallel))

    def feed(self, first_step: int, last_step: int) -> Feed:
        """The same batches for the inner loop, by the way that is faster here.

        A row of an array in memory is had sooner in the graph itself than from a thread of tf.data, which takes the
        cores from the model; what must be read, decoded, augmented or sent to a GPU is prepared beside the training.
        """
        in_memory = isinstance(self._parts["train"][0], ArraySource)
        if in_memory and not self._augment and not self._config.device.startswith("gpu"):
            return MemoryFeed(self, self._config.batch_size, first_step)
        return StreamFeed(lambda step: self.batches(step, last_step), first_step)

    def load_training(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A training batch before augmentation, from its examples' numbers in the split `train`, int64 [batch]."""
        size = self._config.batch_size if self._config.drop_remainder else None
        return self._load(self._parts["train"][0], tf.ensure_shape(indices, [size]))

    def order(self, epoch: int) -> np.ndarray:
        """The examples of the split `train` as an epoch, counted from 0, goes through them: int64 [examples]."""
        members = self._parts["train"][1]
        return members[epoch_order(self._config.seed, int(epoch), len(members))]

    def examples_of(self, step: int) -> np.ndarray:
        """Which examples of the split `train` a training batch holds, int64 [batch]."""
        epoch, number = divmod(step, self.steps_per_epoch)
        size = self._config.batch_size
        return self.order(epoch)[number * size : (number + 1) * size]

    def evaluation(self, split: str) -> tf.data.Dataset:
        """Every example of a split exactly once, in order, in batches of the config's size (the last may be smaller).

        Raises:
            TfloopError: there is no such split (exit code 2).
        """
        if split not in self._parts:
            raise TfloopError(f"there is no split `{split}`", hint=f"this dataset has {', '.join(self.splits)}")
        source, members = self._parts[split]
        size = self._config.batch_size
        starts = tf.data.Dataset.range(0, len(members), size)
        held = tf.constant(members)
        return self._finish(
            starts.map(lambda i: self._load(source, held[i : i + size]), num_parallel_calls=self._parallel)
        )

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Around whatever draws batches: a read that fails inside the graph is told in its source's own words.

        Raises:
            TfloopError: a source could not read an example (exit code 4).
        """
        try:
            yield
        except tf.errors.OpError as error:
            for source, _ in self._parts.values():
                if failure := getattr(source, "failure", None):  # only sources that read while training have one
                    raise failure from error
            raise

    @property
    def _parallel(self) -> int:
        # One worker keeps up with a model unless there is something to compute for every image.
        return 2 if self._augment else 1

    def _load(self, source: Source, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, targets = source.gather(indices)
        if inputs.dtype == tf.uint8:
            # Not divided: TensorFlow makes this product of a division in some graphs, and other bits in the rest.
            inputs = tf.cast(inputs, self._dtype) * (1 / 255)
        elif inputs.dtype.is_floating:
            inputs = tf.cast(inputs, self._dtype)
        if targets.dtype.is_floating:
            targets = tf.cast(targets, self._dtype)
        return inputs, targets

    @staticmethod
    def _finish(dataset: tf.data.Dataset) -> tf.data.Dataset:
        options = tf.data.Options()
        options.deterministic = True
        options.autotune.enabled = False  # what is fixed is the same in every run
        return dataset.prefetch(PREFETCHED_BATCHES).with_options(options)


class StreamFeed:
    """Batches of a tf.data pipeline, which knows where an epoch ends.

    Args:
        begin: the pipeline from a step on.
        first_step: number of the first batch, counted from 0 over the whole run.
    """

    def __init__(self, begin: Callable[[int], tf.data.Dataset], first_step: int) -> None:
        self._begin = begin
        self.go_to(first_step)

    def turn_to(self, epoch: int) -> None:
        pass

    def go_to(self, step: int) -> None:
        self.batches = iter(self._begin(step))


class MemoryFeed:
    """Batches gathered in the graph that trains on them.

    Args:
        data: whose training split is in memory.
        size: examples in a batch.
        first_step: number of the first batch, counted from 0 over the whole run.
    """

    def __init__(self, data: Data, size: int, first_step: int) -> None:
        self._data, self._size = data, size
        self.batches = self
        with tf.device("CPU"):
            self._step = tf.Variable(first_step, dtype=tf.int64, trainable=False)
            self._order = tf.Variable(tf.zeros(data.examples("train"), tf.int64), trainable=False)
            self._first = tf.Variable(0, dtype=tf.int64, trainable=False)  # the epoch's first step

    def turn_to(self, epoch: int) -> None:
        self._order.assign(self._data.order(epoch))
        self._first.assign(epoch * self._data.steps_per_epoch)

    def go_to(self, step: int) -> None:
        self._step.assign(step)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[tf.Tensor, tf.Tensor]:
        first = (self._step - self._first) * self._size
        indices = self._order[first : first + self._size]
        self._step.assign_add(1)
        return self._data.load_training(indices)


def build_data(config: Config) -> Data:
    """The config's dataset, opened and divided.

    Raises:
        TfloopError: the data cannot be had or read (exit code 4), or it is to be read without its bad examples, and the
            dataset does not heed that (exit code 2).
    """
    with opening(skip=config.on_bad_example == "skip") as found:
        data = Data(datasets.build(config.dataset), config)
    if found.skip and not found.heeded:
        raise TfloopError(
            f"`on_bad_example: skip`: the dataset `{config.dataset.name}` cannot tell which of its examples are bad",
            hint="take `on_bad_example` out of the config",
        )
    data.left_out, data.notes = found.counts, found.notes()
    return data


def epoch_order(seed: int, epoch: int, examples: int) -> np.ndarray:
    """The order of an epoch's examples: a permutation, int64 [examples].

    A stable argsort of raw Philox output, which NumPy promises to keep; it promises no such thing for `permutation`.
    """
    bits = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(examples)
    return np.argsort(bits, kind="stable")


def _divide(dataset: Dataset, validation: int | float | str) -> dict[str, tuple[Source, np.ndarray]]:
    """Each split's source and the examples of it that belong to the split: int64 [examples]."""
    parts = {name: (source, np.arange(len(source))) for name, source in dataset.splits.items()}
    if "train" not in parts:
        raise TfloopError(f"the dataset has no split `train`, only {', '.join(sorted(parts))}", code=ExitCode.DATA)
    if validation == "auto":
        validation = 0 if "validation" in parts else 0.1
    elif "validation" in parts:
        parts.pop("validation")
    source, examples = parts["train"]
    held = round(validation * len(examples)) if isinstance(validation, float) else int(validation)
    if held >= len(examples):
        raise TfloopError(
            f"`validation` holds out {held} examples, and the training split has {len(examples)}",
            hint="hold out fewer",
        )
    if held:
        shuffled = epoch_order(HELD_OUT_KEY, 0, len(examples))
        parts["validation"] = (source, np.sort(shuffled[:held]))
        parts["train"] = (source, np.sort(shuffled[held:]))
    return parts
