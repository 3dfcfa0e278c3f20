"""What the loop asks of a task. A new kind of training is one file with one class like this."""

from typing import Protocol

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.state import TrainState

Batch = tuple[tf.Tensor, tf.Tensor]  # inputs, float [batch, ...]; targets, [batch, ...]
Values = dict[str, tf.Tensor]  # a metric's name -> its value for each example, float [batch]


class Task(Protocol):
    """One batch's meaning: loss, metrics, and the step that learns from it.

    Attributes:
        models: names of the models that it trains; ("model",) for a task of one.
        metrics: names of what the steps measure, in the order of the table's columns.
        monitor: the metric that says which epoch is best and whether "max" or "min" is good; None if none can.

    One whose attribute `whole_batches` is true says that the examples of a batch meet in its step, as in a contrastive
    loss: `micro_batch_size` must not divide them.
    """

    models: tuple[str, ...]
    metrics: tuple[str, ...]
    monitor: tuple[str, str] | None

    def train_step(self, state: TrainState, batch: Batch) -> Values:
        """Learns from one batch; returns each metric's value for each example, as seen before the update."""
        ...

    def eval_step(self, state: TrainState, batch: Batch) -> Values:
        """Measures one batch with training=False; changes nothing."""
        ...

    def predict(self, state: TrainState, inputs: tf.Tensor) -> tf.Tensor | None:
        """The class that the model finds likeliest, int [batch]; None where the task knows no classes."""
        ...

    def samples(self, state: TrainState) -> np.ndarray | None:
        """Images to look at after an epoch, float [n, height, width, channels] in [0, 1]; None for most tasks."""
        ...


def wants_autograph(task: Task) -> bool:
    """Whether TensorFlow's AutoGraph must read the task's code before it is traced.

    A user's own task may branch on a tensor by Python's `if`. Ours do not, and to be read takes them longer than to be
    traced.
    """
    return not type(task).__module__.startswith("tfloop_cli.")
