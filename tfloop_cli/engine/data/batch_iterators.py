"""What iterates over training batches in the compiled inner loop."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

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
