"""Metrics of an epoch: exact sums over its examples, and their means."""

import math
from collections.abc import Sequence

import tensorflow as tf

from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import MetricValues
from tfloop_cli.events import Metrics


def sums(values: MetricValues, metrics: Sequence[str]) -> tf.Tensor:
    """Returns each metric's sum over the batch and, last, the number of examples: float64 [metrics + 1]."""
    columns = [tf.cast(values[name], tf.float64) for name in metrics]  # each [batch]
    return tf.reduce_sum(tf.stack([*columns, tf.ones_like(columns[0])]), axis=1)


def means(state: TrainState) -> Metrics:
    """Returns the metrics of the current epoch: means over its examples so far, NaN before the first example."""
    *totals, examples = state.metric_sums.numpy().tolist()
    return {name: total / examples if examples else math.nan for name, total in zip(state.metrics, totals, strict=True)}
