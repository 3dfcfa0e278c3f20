"""A layer computed by our kernels and by the library's own, with its gradients and theirs."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.kernels.patching import original_implementations

BATCH, PLACES, WIDTH = 3, 5, 8


def sequences(dtype: str = "float64", shape: tuple[int, ...] = (BATCH, PLACES, WIDTH)) -> tf.Tensor:
    return tf.cast(tf.constant(np.random.default_rng(0).normal(0.5, 2, shape)), dtype)


def derived(call: Callable, inputs: tf.Tensor, variables: list) -> tuple[list[np.ndarray], set[str]]:
    """Outputs, gradients, the gradient's own gradient; and by what kinds of operations the outputs are computed.

    Traced with batches of any size, as training is.
    """

    def outputs(inputs: tf.Tensor) -> tf.Tensor:
        return call(inputs)

    @tf.function(input_signature=[tf.TensorSpec([None, *inputs.shape[1:]], inputs.dtype)])
    def run(inputs: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as outer:
            outer.watch(inputs)
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                made = outputs(inputs)
                weights = tf.cast(tf.random.stateless_normal(tf.shape(made), [1, 2]), made.dtype)
                loss = tf.reduce_sum(tf.square(made) * weights)
            gradients = tape.gradient(loss, [inputs, *variables])
            again = tf.reduce_sum(tf.square(gradients[0]))
        return [made, *gradients, outer.gradient(again, inputs)]

    graph = tf.function(outputs).get_concrete_function(inputs).graph
    return [tf.cast(array, tf.float64).numpy() for array in run(inputs)], {op.type for op in graph.get_operations()}


def both(make: Callable, inputs: tf.Tensor, call: Callable | None = None):
    """Ours and the library's, of the same layer; and the kinds of operations that ours takes."""
    layer = make()
    call = call or (lambda layer, inputs: layer(inputs))
    call(layer, inputs)
    for number, weight in enumerate(layer.weights):  # zeros and ones would hide much
        weight.assign(tf.random.stateless_normal(weight.shape, [number, 7], dtype=weight.dtype))
    variables = [weight.value for weight in layer.trainable_weights]
    ours, kinds = derived(lambda inputs: call(layer, inputs), inputs, variables)
    with original_implementations():
        theirs, own_kinds = derived(lambda inputs: call(layer, inputs), inputs, variables)
    return ours, theirs, kinds, own_kinds


def same(ours: list[np.ndarray], theirs: list[np.ndarray], dtype: str = "float64") -> None:
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    # One gradient may be nothing but rounding (of a key's bias, softmax being what it is): the largest is the measure.
    tolerance *= max(1.0, *(float(np.abs(expected).max()) for expected in theirs))
    for got, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got, expected, atol=tolerance, rtol=0)
