"""The constant schedule."""

import tensorflow as tf

from tfloop_cli.engine.schedules import Multiplier
from tfloop_cli.registry import schedules


@schedules.register("constant")
def constant(total_steps: int) -> Multiplier:
    """A constant learning rate.

    Args:
        total_steps: updates in the run after the warm-up; not used.
    """
    return tf.ones_like
