"""Builds the optimizer of a config: its learning rate schedule, gradient clipping and fused updates."""

import keras

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.optimizers.fused import fuse
from tfloop_cli.engine.optimizers.learning_rate import set_schedule
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import optimizers
from tfloop_cli.registry.results import wrong_result
from tfloop_cli.user_code import user_frames


def build_optimizer(config: Config, total_steps: int) -> keras.Optimizer:
    """Returns a new optimizer with the config's schedule and gradient clipping.

    The builder of the optimizer receives only its own arguments. Schedule and clipping are set on what it returns, so
    that they work for every optimizer, the user's included.

    Args:
        config: optimizer, schedule, warmup_steps, clip_norm.
        total_steps: training steps in the whole run, which the schedule spans.

    Raises:
        TfloopError: Keras rejects the arguments, or the optimizer already has clipping or a learning rate schedule
            (exit code 2); the builder returns something else (exit code 7).
    """
    name = config.optimizer.name
    try:
        optimizer = optimizers.build(config.optimizer)
    except (TypeError, ValueError) as error:
        if user_frames(error):
            raise
        raise TfloopError(f"optimizer `{name}`: {error}") from error
    if not isinstance(optimizer, keras.Optimizer):
        problem = f"its builder returned {type(optimizer).__name__}, not a Keras optimizer"
        raise wrong_result("optimizer", name, problem, "return an instance of keras.optimizers.Optimizer")
    if config.clip_norm is not None:
        _set_clip_norm(optimizer, name, config.clip_norm)
    if config.schedule.name != "constant" or config.warmup_steps:
        set_schedule(optimizer, config, total_steps)
    fuse(optimizer)
    return optimizer


def _set_clip_norm(optimizer: keras.Optimizer, name: str, clip_norm: float) -> None:
    if optimizer.clipnorm is not None or optimizer.clipvalue is not None or optimizer.global_clipnorm is not None:
        raise TfloopError(
            f"optimizer `{name}` clips gradients by itself, and the config has `clip_norm: {clip_norm}`",
            hint="use one of the two: `--set clip_norm=null`, or remove the clipping from the optimizer's builder",
        )
    optimizer.global_clipnorm = clip_norm
