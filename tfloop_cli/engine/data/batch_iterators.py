"""What iterates over training batches in the compiled inner loop."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.structures import Structure


class BatchIterator(Protocol):
    """Iterates over training batches inside the graph of the inner loop; see `Data.batch_iterator`.

    Attributes:
        batches: the iterator to pass to the compiled inner loop. `seek` may replace it, so read it before each call.
        variables: those of the graph that depend on the step alone.
    """

    batches: Iterator[tuple[Structure, ...]]
    variables: Sequence[tf.Variable]

    def set_epoch(self, epoch: int) -> None:
        """Prepares an epoch, counted from 0; called before its first batch, or before the one to resume at."""

    def seek(self, step: int) -> None:
        """Makes the batch of `step` the next one.

        Args:
            step: index of the next batch, counted from 0 over the whole run; in the current epoch, or the first of the
                next.
        """


class TrainingData(Protocol):
    """What `InMemoryBatches` needs of `Data`."""

    def examples(self, split: str) -> int: ...

    def order(self, epoch: int) -> np.ndarray: ...

    def first_step(self, epoch: int) -> int: ...

    def load_training(self, indices: tf.Tensor) -> tuple[Structure, ...]: ...


class PipelineBatches:
    """Batches from a tf.data pipeline, which contains all epochs.

    Args:
        pipeline_from: returns the pipeline that begins at a step.
        first_step: index of the first batch, counted from 0 over the whole run.
    """

    def __init__(self, pipeline_from: Callable[[int], tf.data.Dataset], first_step: int) -> None:
        self._pipeline_from = pipeline_from
        self.variables: Sequence[tf.Variable] = ()
        self.seek(first_step)

    def set_epoch(self, epoch: int) -> None: ...

    def seek(self, step: int) -> None:
        self.batches = iter(self._pipeline_from(step))


class InMemoryBatches:
    """Batches that are gathered in the training graph.

    Args:
        data: its training split is in memory.
        size: examples per batch.
        first_step: index of the first batch, counted from 0 over the whole run.
    """

    def __init__(self, data: TrainingData, size: int, first_step: int) -> None:
        self._data, self._size = data, size
        self.batches = self
        with tf.device("CPU"):
            self._step = tf.Variable(first_step, dtype=tf.int64, trainable=False)
            self._order = tf.Variable(tf.zeros(data.examples("train"), tf.int64), trainable=False)
            self._first = tf.Variable(0, dtype=tf.int64, trainable=False)  # the epoch's first step
        self.variables: Sequence[tf.Variable] = (self._step, self._order, self._first)

    def set_epoch(self, epoch: int) -> None:
        self._order.assign(self._data.order(epoch))
        self._first.assign(self._data.first_step(epoch))

    def seek(self, step: int) -> None:
        self._step.assign(step)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Structure, ...]:
        first = (self._step - self._first) * self._size
        indices = self._order[first : first + self._size]
        self._step.assign_add(1)
        return self._data.load_training(indices)
