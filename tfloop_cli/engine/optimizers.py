"""Optimizers and learning-rate schedules.

The optimizers are Keras' own, by the names of their files (`adam`, `adamw`, `sgd`, ...). A schedule is a factor on the
optimizer's learning rate, from the number of updates done; `warmup_steps` raises the factor from 0 before it.
"""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from tfloop_cli.config import Config
from tfloop_cli.engine.fused import fuse
from tfloop_cli.errors import TfloopError
from tfloop_cli.fields import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from tfloop_cli.registry import optimizers, schedules

Factor = Callable[[tf.Tensor], tf.Tensor]  # updates since warm-up, float32 [] -> factor, float32 []


@schedules.register("constant")
def constant(total_steps: int) -> Factor:
    """The learning rate stays what it is."""
    return tf.ones_like


@schedules.register("cosine")
def cosine(total_steps: int, *, steps: PositiveInt | None = None, final: Fraction = 0.0) -> Factor:
    """Half a cosine from 1 down to `final` (Loshchilov & Hutter 2016, arXiv:1608.03983, without restarts).

    Args:
        total_steps: updates in the run after the warm-up.
        steps: updates until `final` is reached; by default the whole run.
        final: the factor at the end and after it.
    """
    length = steps or total_steps

    def factor(step: tf.Tensor) -> tf.Tensor:
        done = tf.minimum(step / length, 1.0)
        return final + (1 - final) * 0.5 * (1 + tf.cos(math.pi * done))

    return factor


@schedules.register("exponential")
def exponential(total_steps: int, *, decay: PositiveFloat = 0.96, every_steps: PositiveInt = 1000) -> Factor:
    """Multiplied by `decay` with every `every_steps` updates, smoothly.

    Args:
        total_steps: updates in the run after the warm-up; not used.
        decay: the factor after `every_steps` updates.
        every_steps: how many updates that is.
    """
    return lambda step: tf.pow(tf.constant(decay, tf.float32), step / every_steps)


@schedules.register("piecewise")
def piecewise(total_steps: int, *, boundaries_steps: list[NonNegativeInt], factors: list[NonNegativeFloat]) -> Factor:
    """A constant factor between boundaries.

    Args:
        total_steps: updates in the run after the warm-up; not used.
        boundaries_steps: after how many updates the next factor begins, rising.
        factors: one more than there are boundaries; the first holds from the beginning.
    """
    if len(factors) != len(boundaries_steps) + 1 or sorted(set(boundaries_steps)) != list(boundaries_steps):
        raise TfloopError(
            "`schedule.factors` must be one longer than `schedule.boundaries_steps`, which must rise; "
            f"found {list(factors)} and {list(boundaries_steps)}"
        )
    edges, values = tf.constant(boundaries_steps, tf.float32), tf.constant(factors, tf.float32)
    return lambda step: tf.gather(values, tf.reduce_sum(tf.cast(step >= edges, tf.int32)))


@keras.saving.register_keras_serializable("tfloop")
class ScheduledRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate at an update: base rate x warm-up x schedule.

    Args:
        base: the optimizer's own learning rate.
        factor: the schedule.
        warmup_steps: updates over which the rate rises from 0, linearly.
    """

    def __init__(self, base: float, factor: Factor, warmup_steps: int) -> None:
        self.base, self.factor, self.warmup_steps = base, factor, warmup_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        warm = tf.minimum((step + 1) / (self.warmup_steps + 1), 1.0)
        return self.base * warm * self.factor(tf.maximum(step - self.warmup_steps, 0.0))

    def get_config(self) -> dict[str, object]:
        raise NotImplementedError("tfloop builds schedules from the run's config, never from Keras' own files")


def build_optimizer(config: Config, total_steps: int) -> keras.Optimizer:
    """The config's optimizer with its schedule, for one model.

    Args:
        config: of the run.
        total_steps: updates in the whole run: the schedule's horizon.

    Raises:
        TfloopError: arguments that Keras refuses (exit code 2).
    """
    arguments = {}
    if config.schedule.name != "constant" or config.warmup_steps:
        factor = schedules.build(config.schedule, max(1, total_steps - config.warmup_steps))
        base = config.optimizer.arguments["learning_rate"]
        arguments["learning_rate"] = ScheduledRate(base, factor, config.warmup_steps)
    try:
        optimizer = optimizers.build(config.optimizer, global_clipnorm=config.clip_norm, **arguments)
    except (TypeError, ValueError) as error:
        raise TfloopError(f"optimizer `{config.optimizer.name}`: {error}") from error
    fuse(optimizer)
    return optimizer
