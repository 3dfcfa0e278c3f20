"""Some models in one thread: to hand an operation to another one takes longer than it saves."""

from collections.abc import Iterator
from typing import Protocol

import keras
import tensorflow as tf

from tfloop_cli.engine.fused import FUSED_FROM
from tfloop_cli.engine.kernels import native
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Batch

_layers = keras.layers
# Outside TensorFlow's usual executor convolutions lose their fast kernels, so only what is known to need none is here.
PLAIN = {_layers.InputLayer, _layers.Flatten, _layers.Dense, _layers.Activation, _layers.ReLU, _layers.Dropout}


class InnerLoop(Protocol):
    """Some training steps in one call of a compiled function."""

    def __call__(self, batches: Iterator[Batch], count: tf.Tensor) -> tf.Tensor:
        """Takes `count` steps, int64 []; returns whether every number is still finite, bool []."""
        ...

    def experimental_get_tracing_count(self) -> int:
        """How often it was traced."""
        ...


def suits_one_thread(state: TrainState) -> bool:
    """Whether a training step is nothing but operations too small to divide, and tfloop's own, which divide themselves.

    Small are those of dense layers of few weights. A fixed rule, not a measurement: the kernels differ, and with them
    the last bits.
    """
    return all(_is_small(layer) or native.computes(layer) for model in state.models.values() for layer in model.layers)


def _is_small(layer: keras.Layer) -> bool:
    small = all(variable.shape.num_elements() < FUSED_FROM for variable in layer.trainable_variables)
    return small and type(layer) in PLAIN


class InOneThread:
    """A compiled function whose operations run one after the other in the calling thread.

    Args:
        function: not traced before.
    """

    def __init__(self, function: tf.types.experimental.PolymorphicFunction) -> None:
        self._function = function
        self.experimental_get_tracing_count = function.experimental_get_tracing_count

    def __call__(self, *arguments: object) -> tf.Tensor:
        with tf.experimental.function_executor_type("SINGLE_THREADED_EXECUTOR"):
            return self._function(*arguments)
