"""Runs small models in a single thread: passing an operation to another thread takes longer than it saves."""

from collections.abc import Iterator
from typing import Protocol

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels import native
from tfloop_cli.engine.optimizers.fused import MIN_FUSED_SIZE
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Batch

_layers = keras.layers
# Outside of TensorFlow's default executor, convolutions lose their fast implementations. These layers need none.
SIMPLE_LAYERS = {
    _layers.InputLayer, _layers.Flatten, _layers.Dense, _layers.Activation, _layers.ReLU, _layers.Dropout,
}  # fmt: skip


class InnerLoop(Protocol):
    """Several training steps in one call of a compiled function."""

    def __call__(self, batches: Iterator[Batch], count: tf.Tensor) -> tf.Tensor:
        """Runs `count` steps, int64 []; returns whether all values are still finite, bool []."""
        ...

    def experimental_get_tracing_count(self) -> int:
        """Returns how often it was traced."""
        ...

    def get_concrete_function(self, batches: Iterator[Batch], count: tf.TensorSpec) -> tf.types.experimental.Callable:
        """Returns its trace, which later calls use too."""
        ...


def suits_single_thread(state: TrainState, *, use_native: bool) -> bool:
    """Whether a training step consists of small operations, and of C++ operations, which divide their own work.

    Small operations are those of dense layers with few weights. The rule is fixed, not measured: results differ in
    rounding.

    Args:
        state: its models are built.
        use_native: whether supported layers use the C++ operations.
    """
    return all(
        _is_small(layer) or (use_native and native.supports(layer))
        for model in state.models.values()
        for layer in model.layers
    )


def _is_small(layer: keras.Layer) -> bool:
    small = all(variable.shape.num_elements() < MIN_FUSED_SIZE for variable in layer.trainable_variables)
    return small and type(layer) in SIMPLE_LAYERS


class SingleThreadedExecutor:
    """A compiled function whose operations run one after another in the calling thread.

    Args:
        function: not traced yet.
    """

    def __init__(self, function: tf.types.experimental.PolymorphicFunction) -> None:
        self._function = function
        self.experimental_get_tracing_count = function.experimental_get_tracing_count

    def __call__(self, *arguments: object) -> tf.Tensor:
        with tf.experimental.function_executor_type("SINGLE_THREADED_EXECUTOR"):
            return self._function(*arguments)

    def get_concrete_function(self, *arguments: object) -> tf.types.experimental.Callable:
        with tf.experimental.function_executor_type("SINGLE_THREADED_EXECUTOR"):  # nested functions keep it
            return self._function.get_concrete_function(*arguments)
