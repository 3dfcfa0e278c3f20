"""Dense layers with many inputs and few units, as C++ operations or as products of transposed weights."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels import native
from tfloop_cli.engine.kernels.native import MAX_UNITS, MIN_INPUTS
from tfloop_cli.engine.kernels.patching import Patch


def _dense(original: Callable[..., Any]) -> Callable[..., Any]:
    def call(layer: keras.layers.Dense, inputs: tf.Tensor, training: Any = None) -> Any:
        features, units = layer.kernel.shape
        supported = isinstance(inputs, tf.Tensor) and len(inputs.shape) == 2 and inputs.dtype == layer.compute_dtype
        if not supported or features < MIN_INPUTS or units > MAX_UNITS:
            return original(layer, inputs, training=training)  # sparse inputs too
        weights = tf.convert_to_tensor(layer.kernel)
        multiply = native.dense if native.is_used_for(layer) else _transposed_dense
        try:
            outputs = multiply(inputs, weights, native.bias_of(layer, weights))
        except LookupError:  # in a ForwardAccumulator: the C++ operations have no forward-mode derivative
            outputs = _transposed_dense(inputs, weights, native.bias_of(layer, weights))
        return outputs if layer.activation is None else layer.activation(outputs)

    return call


PATCHES = (Patch(keras.layers.Dense, "call", _dense),)


def _transposed_dense(inputs: tf.Tensor, weights: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(_transposed_product(inputs, weights), bias)


@tf.custom_gradient
def _transposed_product(inputs: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
    """Computes `inputs @ weights`: float [batch, features], [features, units] -> [batch, units].

    TensorFlow would fuse product and bias into one operation, for which oneDNN uses its slowest implementation.
    """
    transposed = tf.transpose(weights)  # [units, features]
    outputs = tf.transpose(tf.matmul(transposed, inputs, transpose_b=True))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs_gradient = tf.matmul(upstream, transposed)  # [batch, features]
        # The layers below wait for it, and two products at once are slower.
        with tf.control_dependencies([inputs_gradient]):
            weights_gradient = tf.transpose(tf.matmul(upstream, inputs, transpose_a=True))  # [features, units]
        return inputs_gradient, weights_gradient

    return outputs, gradient
