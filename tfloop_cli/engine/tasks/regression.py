"""Regression: targets are standardized inside of the task, and metrics are in the targets' own units."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data import Data, DataSpec
from tfloop_cli.engine.data.structures import Structure
from tfloop_cli.engine.determination import r2_of_sums
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks.supervised import PerExample, Supervised
from tfloop_cli.engine.tasks.target_scale import TargetScale
from tfloop_cli.engine.tasks.task import SumMetric
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import tasks

MAX_READ = 10_000  # examples whose targets are read from disk to estimate mean and deviation


@dataclass
class Regression(Supervised):
    """Predicts numbers. The model's outputs are standardized; see `TargetScale`.

    Attributes:
        scale: of the targets.
        standardize: whether it is that of the training split.
        log: see `TargetScale.measure`.
    """

    scale: TargetScale
    standardize: bool
    log: Literal["auto"] | bool

    @property
    def saved_variables(self) -> Mapping[str, tf.Variable]:
        return self.scale.variables

    def prepare(self, data: Data) -> str | None:
        """Sets the scale to that of the training split; a restored checkpoint replaces it. Returns a line to print."""
        if not self.standardize or not data.examples("train"):
            return None
        self.scale.measure(training_targets(data).reshape(-1, self.spec.outputs), self.log)
        if self.log != "auto" or not np.any(self.scale.log):
            return None
        return (
            "the target is positive and skewed: its logarithm is learned, and predictions are within the range of the "
            "training split (key `task.log`)"
        )

    def predict(self, state: TrainState, inputs: Structure, weights: tf.Tensor | None = None) -> tf.Tensor:
        outputs = self._outputs(state, inputs, weights)
        return self.scale.in_own_units(tf.reshape(outputs, [-1, self.spec.outputs]))


def training_targets(data: Data) -> np.ndarray:
    """Returns the targets of the training split, [examples, ...]; of `MAX_READ` examples if they are not in memory."""
    source, indices = data.split("train")
    targets = getattr(source, "all_targets", None)
    if targets is not None:
        return np.asarray(targets)[indices]
    step = -(-len(indices) // MAX_READ)
    with data.explain_errors():
        read = (
            tf.data.Dataset.from_tensor_slices(indices[::step]).batch(128).map(lambda chosen: source.gather(chosen)[1])
        )
        return np.concatenate(list(read.as_numpy_iterator()))


def _rmse(sums: np.ndarray, examples: float) -> float:
    return float(np.mean(np.sqrt(sums / examples)))


def _per_example(
    scale: TargetScale, numbers: int, loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tuple[PerExample, dict[str, PerExample]]:
    """Returns the loss of standardized targets, and the metrics in the targets' own units by name.

    Args:
        scale: of the targets.
        numbers: per target.
        loss: of targets and outputs, both [batch, numbers].
    """

    def flat(values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(values, [-1, numbers])

    def standardized_loss(targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        return loss(tf.cast(scale.standardized(flat(targets)), outputs.dtype), flat(outputs))

    def on_errors(function: Callable[[tf.Tensor], tf.Tensor]) -> PerExample:
        return lambda targets, outputs: function(tf.cast(flat(targets), tf.float64) - scale.in_own_units(flat(outputs)))

    def determination(targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        scaled = scale.within_range(flat(targets))  # not in own units: squares of 2024 hide differences
        errors = scaled - scale.within_range(scale.in_own_units(flat(outputs)))
        return tf.concat([tf.square(errors), scaled, tf.square(scaled)], axis=1)

    known: dict[str, PerExample] = {
        "rmse": on_errors(tf.square),
        "mae": on_errors(lambda errors: tf.reduce_mean(tf.abs(errors), axis=1)),
        "mse": on_errors(lambda errors: tf.reduce_mean(tf.square(errors), axis=1)),
        "r2": determination,
    }
    return standardized_loss, known


@tasks.register("regression")
def regression(
    spec: DataSpec,
    *,
    loss: Literal["mean_squared_error", "mean_absolute_error", "huber"] = "mean_squared_error",
    metrics: list[Literal["rmse", "mae", "r2", "mse"]] = ["rmse", "mae", "r2"],
    standardize: bool = True,
    log: Literal["auto"] | bool = "auto",
) -> Regression:
    """Predicts numbers for each input.

    Metrics are in the targets' own units, as in scikit-learn; of several numbers per example they are the mean.

    Args:
        spec: shape of the data; its targets are numbers.
        loss: the loss of an example, the mean over its numbers. `huber` is quadratic up to an error of 1, then linear.
        metrics: the metrics besides the loss: root mean squared error, mean absolute error, coefficient of
            determination, mean squared error.
        standardize: whether the model is trained on standardized targets, with the mean and the deviation of the
            training split; the loss is that of standardized targets.
        log: whether the logarithm of the targets is standardized; auto: of a number whose values are all positive, with
            a skewness over 1 that the logarithm at least halves. Predictions are within the range of the training split
            then. true: of each number whose values are all positive.
    """
    if spec.classes and not spec.one_hot:
        raise TfloopError(
            "task `regression` needs numbers, and the targets of this dataset are classes",
            hint="use `task: classification`, or targets that are numbers: `--set dataset.classes=false` for whole "
            "numbers in a table, a float dtype for arrays",
        )
    scale, numbers = TargetScale(spec.outputs), spec.outputs
    standardized_loss, known = _per_example(scale, numbers, getattr(keras.losses, loss))
    sums = {"rmse": SumMetric(numbers, _rmse), "r2": SumMetric(3 * numbers, r2_of_sums)}
    return Regression(
        loss=standardized_loss,
        other_metrics={name: known[name] for name in metrics},
        monitor=("loss", "min"),
        spec=spec,
        classes=0,
        sum_metrics={name: sums[name] for name in metrics if name in sums},
        scale=scale,
        standardize=standardize,
        log=log,
    )
