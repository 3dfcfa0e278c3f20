"""Gradient accumulation: a batch in micro-batches needs less memory, with the same gradient within rounding."""

from collections.abc import Callable

import tensorflow as tf

from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Batch

MeasuredStep = Callable[[Batch], tf.Tensor]  # returns sums of the batch's metrics, float64 [metrics + 1]


def accumulate_gradients(step: MeasuredStep, state: TrainState, size: int) -> MeasuredStep:
    """Returns a step on a whole batch, made of a step that processes at most `size` examples at once.

    The returned step applies one update per optimizer; its result is float64 [metrics + 1].

    Args:
        step: runs one micro-batch, and calls `apply` once per optimizer.
        state: its optimizers accumulate.
        size: examples per micro-batch; the last may be smaller.
    """
    optimizers = state.optimizers.values()

    def accumulated_step(batch: Batch) -> tf.Tensor:
        examples = tf.shape(tf.nest.flatten(batch)[0])[0]

        def micro_step(first: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            micro_batch = tf.nest.map_structure(lambda values: values[first : first + size], batch)
            fraction = tf.cast(tf.minimum(size, examples - first), tf.float64) / tf.cast(examples, tf.float64)
            for optimizer in optimizers:
                optimizer.fraction = fraction  # from now on, `apply` accumulates gradients
            return first + size, total + step(micro_batch)

        zeros = tf.zeros(state.metric_sums.shape, tf.float64)
        _, total = tf.while_loop(lambda first, _: first < examples, micro_step, [0, zeros], parallel_iterations=1)
        for optimizer in optimizers:
            optimizer.apply_accumulated()
        return total

    return accumulated_step
