"""Metrics of an epoch: exact sums over its examples, and their values: means, or functions of the sums."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import MetricValues, Task, sum_metrics_of
from tfloop_cli.events import Metrics


def sums(values: MetricValues, metrics: Sequence[str]) -> tf.Tensor:
    """Returns each metric's sums over the batch and, last, the number of examples: float64 [numbers + 1]."""
    columns: list[tf.Tensor] = []  # each [batch]
    for name in metrics:
        value = tf.cast(values[name], tf.float64)
        columns += tf.unstack(value, axis=1) if value.shape.rank == 2 else [value]
    return tf.reduce_sum(tf.stack([*columns, tf.ones_like(columns[0])]), axis=1)


def values_of(state: TrainState, task: Task) -> Metrics:
    """Returns the metrics of the current epoch, over its examples so far; NaN before the first example."""
    *totals, examples = state.metric_sums.numpy()
    if not examples:
        return dict.fromkeys(state.metrics, math.nan)
    vectors, values, position = sum_metrics_of(task), {}, 0
    for name in state.metrics:
        size = vectors[name].size if name in vectors else 1
        part, position = np.array(totals[position : position + size]), position + size
        values[name] = vectors[name].value(part, float(examples)) if name in vectors else float(part[0] / examples)
    return values
