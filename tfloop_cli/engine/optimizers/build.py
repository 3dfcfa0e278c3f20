"""Builds the optimizer of a config: its learning rate schedule, gradient clipping and fused updates."""

import keras
import tensorflow as tf

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.optimizers.fused import fuse
from tfloop_cli.engine.schedules import Multiplier
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import optimizers, schedules
from tfloop_cli.user_code import user_frames


@keras.saving.register_keras_serializable("tfloop")
class LearningRateSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of an update: base rate x warm-up x schedule.

    Args:
        base: the optimizer's own learning rate.
        multiplier: the schedule.
        warmup_steps: updates over which the rate rises linearly from 0.
    """

    def __init__(self, base: float, multiplier: Multiplier, warmup_steps: int) -> None:
        self.base, self.multiplier, self.warmup_steps = base, multiplier, warmup_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        warmup = tf.minimum((step + 1) / (self.warmup_steps + 1), 1.0)
        return self.base * warmup * self.multiplier(tf.maximum(step - self.warmup_steps, 0.0))

    def get_config(self) -> dict[str, object]:
        raise NotImplementedError("tfloop builds schedules from the run's config, not from Keras files")


def build_optimizer(config: Config, total_steps: int) -> keras.Optimizer:
    """Returns a new optimizer with the config's schedule and gradient clipping.

    The builder of the optimizer receives only its own arguments. Schedule and clipping are set on what it returns, so
    that they work for every optimizer, the user's included.

    Args:
        config: optimizer, schedule, warmup_steps, clip_norm.
        total_steps: training steps in the whole run, which the schedule spans.

    Raises:
        TfloopError: Keras refuses the arguments (exit code 2), or the builder returns something else (exit code 7).
    """
    name = config.optimizer.name
    try:
        optimizer = optimizers.build(config.optimizer)
    except (TypeError, ValueError) as error:
        if user_frames(error):
            raise
        raise TfloopError(f"optimizer `{name}`: {error}") from error
    if not isinstance(optimizer, keras.Optimizer):
        raise TfloopError(
            f"optimizer `{name}`: its builder returned {type(optimizer).__name__}, not a Keras optimizer",
            hint="return an instance of keras.optimizers.Optimizer",
            code=ExitCode.USER_CODE,
        )
    if config.clip_norm is not None:
        _set_clip_norm(optimizer, name, config.clip_norm)
    if config.schedule.name != "constant" or config.warmup_steps:
        multiplier = schedules.build(config.schedule, max(1, total_steps - config.warmup_steps))
        _set_schedule(optimizer, name, multiplier, config.warmup_steps)
    fuse(optimizer)
    return optimizer


def _set_clip_norm(optimizer: keras.Optimizer, name: str, clip_norm: float) -> None:
    if optimizer.clipnorm is not None or optimizer.clipvalue is not None or optimizer.global_clipnorm is not None:
        raise TfloopError(
            f"optimizer `{name}` clips gradients by itself, and the config has `clip_norm: {clip_norm}`",
            hint="use one of the two: `--set clip_norm=null`, or remove the clipping from the optimizer's builder",
        )
    optimizer.global_clipnorm = clip_norm


def _set_schedule(optimizer: keras.Optimizer, name: str, multiplier: Multiplier, warmup_steps: int) -> None:
    if not isinstance(optimizer._learning_rate, keras.Variable):
        raise TfloopError(
            f"optimizer `{name}` has its own learning rate schedule, and the config has `schedule` or `warmup_steps`",
            hint="use one of the two: `schedule: constant` and `warmup_steps: 0`, or a constant learning rate in the "
            "optimizer's builder",
        )
    base = float(optimizer.learning_rate)
    optimizer.learning_rate = LearningRateSchedule(base, multiplier, warmup_steps)
