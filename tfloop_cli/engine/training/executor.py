"""Runs small models in a single thread: passing an operation to another thread takes longer than it saves."""

from collections.abc import Callable, Iterator
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
        """Runs `count` steps, int32 []; returns whether all values are still finite, bool []."""
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
    rounding. A model with weights outside of such layers is not known to consist of them.

    Args:
        state: its models are built.
        use_native: whether supported layers use the C++ operations.
    """
    for model in state.models.values():
        if not all(_is_small(layer) or (use_native and native.supports(layer)) for layer in model.layers):
            return False
        if len(model.weights) > sum(len(layer.weights) for layer in model.layers):
            return False
    return True


def calls_functions(graph: tf.Graph) -> bool:
    """Whether the loop body of an inner loop's graph calls functions: conditions, loops, nested functions.

    Such an operation blocks its thread until another thread of the inter-op pool has run the function. With the
    single-threaded executor it may wait for itself: the pool has as many threads as the process has CPUs.
    """
    definition = graph.as_graph_def()
    functions = {function.signature.name: function.node_def for function in definition.library.function}
    loops = [node for node in definition.node if _functions_of(node)]
    bodies = [node for loop in loops for name in _functions_of(loop) for node in functions[name]]
    return len(loops) != 1 or any(_functions_of(node) for node in bodies)


def _functions_of(node: tf.compat.v1.NodeDef) -> list[str]:
    """Returns the names of the functions that an operation calls."""
    names = []
    for attribute in node.attr.values():
        names += [attribute.func.name] if attribute.HasField("func") else []
        names += [function.name for function in attribute.list.func]
    return names


def _is_small(layer: keras.Layer) -> bool:
    small = all(variable.shape.num_elements() < MIN_FUSED_SIZE for variable in layer.trainable_variables)
    return small and type(layer) in SIMPLE_LAYERS


class SingleThreadedExecutor:
    """A compiled function whose operations run one after another in the calling thread.

    If its graph calls functions, it is traced again for TensorFlow's default executor, and runs there.

    Args:
        function: the Python function to compile.
    """

    def __init__(self, function: Callable[..., tf.Tensor]) -> None:
        self._python_function = function
        self._function = tf.function(function, autograph=False)
        self._single_threaded = True
        self._checked: set[tf.Graph] = set()

    def experimental_get_tracing_count(self) -> int:
        return self._function.experimental_get_tracing_count()

    def __call__(self, *arguments: object) -> tf.Tensor:
        self.get_concrete_function(*arguments)
        if self._single_threaded:
            with tf.experimental.function_executor_type("SINGLE_THREADED_EXECUTOR"):
                return self._function(*arguments)
        return self._function(*arguments)

    def get_concrete_function(self, *arguments: object) -> tf.types.experimental.Callable:
        """Returns the traced function for these arguments, traced for the executor that it needs."""
        if self._single_threaded:
            # The executor affects tracing too: for the default one, control flow is lowered to other operations.
            with tf.experimental.function_executor_type("SINGLE_THREADED_EXECUTOR"):
                traced = self._function.get_concrete_function(*arguments)
            if traced.graph in self._checked or not calls_functions(traced.graph):
                self._checked.add(traced.graph)
                return traced
            self._single_threaded = False
            self._function = tf.function(self._python_function, autograph=False)
        return self._function.get_concrete_function(*arguments)
