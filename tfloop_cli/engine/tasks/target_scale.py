"""Standardized targets of regression: by mean and deviation, of the numbers or of their logarithms."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import tensorflow as tf

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
