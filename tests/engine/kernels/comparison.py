"""Compares a layer with fast kernels to the original implementation: outputs, gradients and second derivatives."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.kernels import original_implementations

BATCH, POSITIONS, DIMENSION = 3, 5, 8


def random_tensor(dtype: str = "float64", shape: tuple[int, ...] = (BATCH, POSITIONS, DIMENSION)) -> tf.Tensor:
    return tf.cast(tf.constant(np.random.default_rng(0).normal(0.5, 2, shape)), dtype)


def differentiate(call: Callable, inputs: tf.Tensor, variables: list) -> tuple[list[np.ndarray], set[str]]:
    """Returns the results of a function and its derivatives, and the types of the operations in its graph.

    The results are float64: the outputs, the gradients of inputs and variables, and the gradient of the inputs'
    gradient. The function is traced for any batch size, as in training.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, *inputs.shape[1:]], inputs.dtype)])
    def run(inputs: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as outer:
            outer.watch(inputs)
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = call(inputs)
                weights = tf.cast(tf.random.stateless_normal(tf.shape(outputs), [1, 2]), outputs.dtype)
                loss = tf.reduce_sum(tf.square(outputs) * weights)
            gradients = tape.gradient(loss, [inputs, *variables])
            squares = tf.reduce_sum(tf.square(gradients[0]))
        return [outputs, *gradients, outer.gradient(squares, inputs)]

    return [tf.cast(array, tf.float64).numpy() for array in run(inputs)], operations(call, inputs)


def operations(call: Callable, *inputs: tf.Tensor | tf.TensorSpec) -> set[str]:
    """Returns the types of the operations in the graph of a function."""
    graph = tf.function(call).get_concrete_function(*inputs).graph
    return {operation.type for operation in graph.get_operations()}


def compare_with_original(
    make_layer: Callable, inputs: tf.Tensor, call: Callable | None = None
) -> tuple[list[np.ndarray], list[np.ndarray], set[str], set[str]]:
    """Returns results with fast kernels and with the original implementation, then the operations of both.

    Args:
        make_layer: returns a new layer.
        inputs: of the layer.
        call: calls the layer with the inputs, if it needs other arguments.
    """
    layer = make_layer()
    call = call or (lambda layer, inputs: layer(inputs))
    call(layer, inputs)
    for number, weight in enumerate(layer.weights):  # initial zeros and ones would hide errors
        weight.assign(tf.random.stateless_normal(weight.shape, [number, 7], dtype=weight.dtype))
    variables = [weight.value for weight in layer.trainable_weights]
    fast, fast_operations = differentiate(lambda inputs: call(layer, inputs), inputs, variables)
    with original_implementations():
        original, original_operations = differentiate(lambda inputs: call(layer, inputs), inputs, variables)
    return fast, original, fast_operations, original_operations


def assert_close(fast: list[np.ndarray], original: list[np.ndarray], dtype: str = "float64") -> None:
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    # The tolerance is relative to the largest value of all arrays: the gradient of a key's bias in attention is zero
    # and consists of rounding errors only.
    tolerance *= max(1.0, *(float(np.abs(expected).max()) for expected in original))
    for got, expected in zip(fast, original, strict=True):
        np.testing.assert_allclose(got, expected, atol=tolerance, rtol=0)
