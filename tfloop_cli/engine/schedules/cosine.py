"""Cosine decay."""

import math

import tensorflow as tf

from tfloop_cli.engine.schedules import Multiplier
from tfloop_cli.registry import schedules
from tfloop_cli.registry.argument_types import Fraction, PositiveInt


@schedules.register("cosine")
def cosine(total_steps: int, *, decay_steps: PositiveInt | None = None, alpha: Fraction = 0.0) -> Multiplier:
    """Cosine decay from 1 to `alpha` (Loshchilov & Hutter 2016, arXiv:1608.03983, without restarts).

    Args:
        total_steps: updates in the run after the warm-up.
        decay_steps: the number of updates until the multiplier is `alpha`; null: the whole run.
        alpha: the multiplier at the end of the decay and after it.
    """
    length = decay_steps or total_steps

    def multiplier(step: tf.Tensor) -> tf.Tensor:
        progress = tf.minimum(step / length, 1.0)
        return alpha + (1 - alpha) * 0.5 * (1 + tf.cos(math.pi * progress))

    return multiplier
