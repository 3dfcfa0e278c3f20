"""A batch in parts: less memory for one step, the same gradient within rounding."""

from collections.abc import Callable

import tensorflow as tf

from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Batch

MeasuredStep = Callable[[Batch], tf.Tensor]  # -> sums of the batch's metrics, float64 [metrics + 1]


def in_micro_batches(step: MeasuredStep, state: TrainState, size: int) -> MeasuredStep:
    """A step on a whole batch out of one that sees at most `size` of its examples at once."""
    optimizers = state.optimizers.values()

    def divided(batch: Batch) -> tf.Tensor:
        inputs, targets = batch
        examples = tf.shape(inputs)[0]

        def one_part(first: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            part = inputs[first : first + size], targets[first : first + size]
            share = tf.cast(tf.minimum(size, examples - first), tf.float64) / tf.cast(examples, tf.float64)
            for optimizer in optimizers:
                optimizer.share = share  # what `apply` gets from now on is kept, not applied
            return first + size, total + step(part)

        nothing = tf.zeros(len(state.metrics) + 1, tf.float64)
        _, total = tf.while_loop(lambda first, _: first < examples, one_part, [0, nothing], parallel_iterations=1)
        for optimizer in optimizers:
            optimizer.apply_sum()
        return total

    return divided
