"""Piecewise constant schedule."""

import tensorflow as tf

from tfloop_cli.engine.schedules import Multiplier
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import schedules
from tfloop_cli.registry.argument_types import NonNegativeFloat, NonNegativeInt


@schedules.register("piecewise")
def piecewise(
    total_steps: int, *, boundaries_steps: list[NonNegativeInt], factors: list[NonNegativeFloat]
) -> Multiplier:
    """A piecewise constant multiplier.

    Args:
        total_steps: updates in the run after the warm-up; not used.
        boundaries_steps: the numbers of updates after which the next factor starts, in increasing order.
        factors: the multipliers, one more than boundaries; the first one applies from the start.
    """
    if len(factors) != len(boundaries_steps) + 1 or sorted(set(boundaries_steps)) != list(boundaries_steps):
        raise TfloopError(
            "`schedule.factors` must have one item more than `schedule.boundaries_steps`, which must increase; "
            f"found {list(factors)} and {list(boundaries_steps)}"
        )
    edges, values = tf.constant(boundaries_steps, tf.float32), tf.constant(factors, tf.float32)
    return lambda step: tf.gather(values, tf.reduce_sum(tf.cast(step >= edges, tf.int32)))
