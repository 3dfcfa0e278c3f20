"""The learning rate of an update: the optimizer's own rate, times linear warm-up, times the schedule."""

import keras
import tensorflow as tf

from tfloop_cli.config.schema import Config
from tfloop_cli.config.warmup import warmup_steps_of
from tfloop_cli.engine.schedules import Multiplier
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import schedules
from tfloop_cli.registry.results import wrong_result


@keras.saving.register_keras_serializable("tfloop")
class LearningRateSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of an update: base rate x warm-up x schedule.

    Args:
        base: the optimizer's own learning rate.
        multiplier: the schedule.
        warmup_steps: the number N of warm-up updates: update k, counted from 0, uses (k + 1) / (N + 1) of the rate;
            then the schedule starts at its step 0.
        name: of the schedule, for messages.
    """

    def __init__(self, base: float, multiplier: Multiplier, warmup_steps: int, name: str) -> None:
        self.base, self.multiplier, self.warmup_steps, self.name = base, multiplier, warmup_steps, name

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the learning rate, float32 [].

        Args:
            step: completed optimizer updates (`iterations`), int [].
        """
        step = tf.cast(step, tf.float32)
        warmup = tf.minimum((step + 1) / (self.warmup_steps + 1), 1.0)
        factor = self.multiplier(tf.maximum(step - self.warmup_steps, 0.0))
        if not isinstance(factor, float | int) and not (tf.is_tensor(factor) and factor.shape.rank in (0, None)):
            found = f"shape {factor.shape}" if tf.is_tensor(factor) else type(factor).__name__
            problem = f"its function returned {found}, not a number"
            raise wrong_result("schedule", self.name, problem, "return a multiplier, float32 []")
        return self.base * warmup * tf.cast(factor, tf.float32)

    def get_config(self) -> dict[str, object]:
        raise NotImplementedError("tfloop builds schedules from the run's config, not from Keras files")


def set_schedule(optimizer: keras.Optimizer, config: Config, total_steps: int) -> None:
    """Gives an optimizer the schedule and the warm-up of the config.

    Args:
        optimizer: it has a constant learning rate.
        config: optimizer, schedule, warmup_steps.
        total_steps: training steps in the whole run, which warm-up and schedule span.

    Raises:
        TfloopError: the optimizer already has a schedule, or the arguments of the schedule are invalid (exit code 2).
    """
    if not isinstance(optimizer._learning_rate, keras.Variable):
        raise TfloopError(
            f"optimizer `{config.optimizer.name}` has its own learning rate schedule, and the config has `schedule` or "
            "`warmup_steps`",
            hint="use one of the two: `schedule: constant` and `warmup_steps: 0`, or a constant learning rate in the "
            "optimizer's builder",
        )
    warmup_steps = warmup_steps_of(config, total_steps)
    multiplier = schedules.build(config.schedule, max(1, total_steps - warmup_steps))
    base = float(optimizer.learning_rate)
    optimizer.learning_rate = LearningRateSchedule(base, multiplier, warmup_steps, config.schedule.name)
