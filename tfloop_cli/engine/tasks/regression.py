"""Regression: targets are standardized inside of the task, and metrics are in the targets' own units."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data import Data, DataSpec
from tfloop_cli.engine.data.structures import Structure
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks.supervised import PerExample, Supervised
from tfloop_cli.engine.tasks.task import SumMetric
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import tasks

MAX_READ = 10_000  # examples whose targets are read from disk to estimate mean and deviation
ROUNDING = 1e-7  # a deviation below this fraction of the mean is rounding of float32: the target is constant


class TargetScale:
    """How each number of the targets is standardized. It is part of the training state.

    Args:
        numbers: per target. Until `measure`, targets are not changed.
    """

    def __init__(self, numbers: int) -> None:
        def variable(value: float, name: str) -> tf.Variable:
            return tf.Variable(tf.fill([numbers], tf.constant(value, tf.float64)), trainable=False, name=name)

        self.mean, self.deviation = variable(0, "target_mean"), variable(1, "target_deviation")
        self.log = variable(0, "target_log")  # 1 where mean and deviation are those of the logarithm
        self.low, self.high = variable(0, "target_low"), variable(1, "target_high")  # the range in training

    @property
    def variables(self) -> Mapping[str, tf.Variable]:
        """The variables by the names that they have in a checkpoint."""
        variables = (self.mean, self.deviation, self.log, self.low, self.high)
        return {variable.name.split(":")[0]: variable for variable in variables}

    def measure(self, targets: np.ndarray, log: Literal["auto"] | bool = "auto") -> None:
        """Sets the scale to that of targets [examples, numbers]; values that are not finite do not count.

        Args:
            targets: of the training split.
            log: whether to standardize the logarithm of positive numbers; auto: see `_suits_log`.
        """
        values = targets.astype(np.float64)
        values[~np.isfinite(values)] = np.nan
        known = ~np.isnan(values)
        low = np.min(values, axis=0, where=known, initial=np.inf)
        high = np.max(values, axis=0, where=known, initial=-np.inf)
        logs = (low > 0) & known.any(axis=0) & (log is not False)
        for number in np.flatnonzero(logs):
            column = values[known[:, number], number]
            logs[number] = log is True or _suits_log(column)
            values[:, number] = np.log(values[:, number]) if logs[number] else values[:, number]
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.nansum(values, axis=0) / count
        deviation = np.sqrt(np.nansum(np.square(values - mean), axis=0) / count)
        self.mean.assign(mean)
        self.deviation.assign(np.where(deviation > ROUNDING * np.abs(mean), deviation, 1.0))
        self.log.assign(logs.astype(np.float64))
        self.low.assign(np.where(known.any(axis=0), low, 0.0))
        self.high.assign(np.where(known.any(axis=0), high, 1.0))

    def standardized(self, targets: tf.Tensor) -> tf.Tensor:
        """Returns targets [batch, numbers] with mean 0 and deviation 1 in training, float64."""
        values, logs = tf.cast(targets, tf.float64), self.log > 0
        # A target of another split may be negative: its logarithm is that of the smallest in training.
        positive = tf.where(logs, tf.maximum(values, self.low), 1.0)
        return (tf.where(logs, tf.math.log(positive), values) - self.mean) / self.deviation

    def in_own_units(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns what a model's outputs [batch, numbers] predict, float64.

        With the logarithm, it is within the range of the training split, since an error becomes a factor.
        """
        values, logs = self.mean + self.deviation * tf.cast(outputs, tf.float64), self.log > 0
        exponent = tf.where(logs, tf.minimum(values, tf.math.log(tf.where(logs, self.high, 1.0))), 0.0)
        return tf.where(logs, tf.maximum(tf.exp(exponent), self.low), values)

    def within_range(self, values: tf.Tensor) -> tf.Tensor:
        """Returns values in own units [batch, numbers] as fractions of the range of the training split, float64."""
        extent = self.high - self.low
        return (tf.cast(values, tf.float64) - self.low) / tf.where(extent > 0, extent, 1.0)


def _suits_log(values: np.ndarray) -> bool:
    """Whether positive numbers [examples] have a skewness over 1, and their logarithms at most half of it."""
    skewness, of_logs = _skewness(values), _skewness(np.log(values))
    return skewness > 1 and abs(of_logs) < skewness / 2


def _skewness(values: np.ndarray) -> float:
    centered = values - values.mean()
    deviation = np.sqrt(np.mean(np.square(centered)))
    return float(np.mean((centered / deviation) ** 3)) if deviation > ROUNDING * np.abs(values).max() else 0.0


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


def _r2(sums: np.ndarray, examples: float) -> float:
    """Returns 1 - residual / total sum of squares, the mean over the numbers; 1 or 0 for a constant target."""
    residual, total, squares = sums.reshape(3, -1)
    variation = squares - total**2 / examples
    constant = variation <= 1e-12 * squares
    scores = np.where(constant, np.where(residual == 0, 1.0, 0.0), 1 - residual / np.where(constant, 1.0, variation))
    return float(np.mean(scores)) if examples >= 2 else float("nan")


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

    def standardized_loss(targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        outputs = tf.reshape(outputs, [-1, numbers])
        standardized = scale.standardized(tf.reshape(targets, [-1, numbers]))
        return getattr(keras.losses, loss)(tf.cast(standardized, outputs.dtype), outputs)

    known = _metrics(scale, numbers)
    sums = {"rmse": SumMetric(numbers, _rmse), "r2": SumMetric(3 * numbers, _r2)}
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


def _metrics(scale: TargetScale, numbers: int) -> dict[str, PerExample]:
    """Returns the metrics by name, in the targets' own units. `numbers` is that per example."""

    def flat(values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(values, [-1, numbers])

    def on_errors(function: Callable[[tf.Tensor], tf.Tensor]) -> PerExample:
        return lambda targets, outputs: function(tf.cast(flat(targets), tf.float64) - scale.in_own_units(flat(outputs)))

    def determination(targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        scaled = scale.within_range(flat(targets))  # not in own units: squares of 2024 hide differences
        errors = scaled - scale.within_range(scale.in_own_units(flat(outputs)))
        return tf.concat([tf.square(errors), scaled, tf.square(scaled)], axis=1)

    return {
        "rmse": on_errors(tf.square),
        "mae": on_errors(lambda errors: tf.reduce_mean(tf.abs(errors), axis=1)),
        "mse": on_errors(lambda errors: tf.reduce_mean(tf.square(errors), axis=1)),
        "r2": determination,
    }
