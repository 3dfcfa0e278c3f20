"""Exponential decay."""

import tensorflow as tf

from tfloop_cli.engine.schedules import Multiplier
from tfloop_cli.registry import schedules
from tfloop_cli.registry.argument_types import PositiveFloat, PositiveInt


@schedules.register("exponential")
def exponential(total_steps: int, *, decay_rate: PositiveFloat = 0.96, decay_steps: PositiveInt = 1000) -> Multiplier:
    """Exponential decay: the multiplier is `decay_rate ** (step / decay_steps)`.

    Args:
        total_steps: updates in the run after the warm-up; not used.
        decay_rate: the factor per `decay_steps` updates.
        decay_steps: the number of updates over which the multiplier changes by `decay_rate`.
    """
    return lambda step: tf.pow(tf.constant(decay_rate, tf.float32), step / decay_steps)
