"""The interface of a task. A new kind of training is one file with one class like this."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.structures import Structure
from tfloop_cli.engine.state import TrainState

# (inputs [batch, ...], targets [batch, ...]) or (inputs, targets, sample_weight [batch]); see `Data.batches`. Several
# inputs or targets are a dict or a tuple.
Batch = tuple[Structure, ...]
MetricValues = dict[str, tf.Tensor]  # name of a metric -> its value for each example, [batch], or [batch, size]


@dataclass(frozen=True)
class SumMetric:
    """A metric that is no mean over examples, but a function of a sum over them, such as R2.

    The steps of the task return a vector for each example, [batch, size]. Its sum is exact in float64, also over
    batches of different sizes and over an interruption.

    Attributes:
        size: of the vector.
        value: of the metric: a function of the sum, float64 [size], and of the number of examples.
    """

    size: int
    value: Callable[[np.ndarray, float], float]


class Task(Protocol):
    """A kind of training: loss, metrics, training step and evaluation step.

    A user's task needs `train_step` only; `CompleteTask` has the defaults of everything else.

    Attributes:
        models: names of the models that it trains; ("model",) for a single one. By default those of the config's model.
        metrics: names of the metrics, in the order of the table's columns. By default those that `train_step` returns.
        monitor: the metric that chooses the best epoch, and whether "max" or "min" is better; None for no best epoch.
            By default the metric "loss", if there is one and the task has an `eval_step`.

    A task may have the attribute `whole_batches = True` if the examples of a batch affect each other, as in a
    contrastive loss: `micro_batch_size` must not divide such batches. Further optional attributes:

    - `sum_metrics`: name of a metric -> `SumMetric`, for metrics that are no means over examples.
    - `saved_variables`: name -> variable that is part of the training state, whether the training step uses it or not.
    - `probabilities(state, inputs)`: returns the probability of each class, float [batch, classes], for
      `tfloop predict` and `tfloop export`; None if there are no classes.
    - `prepare(data)`: called before the first step; a restored checkpoint replaces what it sets in `saved_variables`.
      It may return a line for the user.
    """

    models: tuple[str, ...]
    metrics: tuple[str, ...]
    monitor: tuple[str, str] | None

    def train_step(self, state: TrainState, batch: Batch) -> MetricValues:
        """Trains on one batch; returns each metric's value for each example, as measured before the update.

        A scalar is the mean over the batch.
        """
        ...

    def eval_step(self, state: TrainState, batch: Batch) -> MetricValues:
        """Evaluates one batch with training=False; changes nothing. Without it, nothing is evaluated."""
        ...

    def predict(self, state: TrainState, inputs: Structure) -> tf.Tensor | None:
        """Returns the most probable class of each input, int [batch], or numbers in the targets' own units, float.

        None if the task predicts neither.
        """
        ...

    def samples(self, state: TrainState) -> np.ndarray | None:
        """Returns images to save after an epoch, float [n, height, width, channels] in [0, 1]; None for most tasks."""
        ...
