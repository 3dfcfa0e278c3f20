"""A dense layer that makes few numbers of many: by tfloop's own kernels, or by products of its weights turned round."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels import native
from tfloop_cli.engine.kernels.native import NARROW, TALL
from tfloop_cli.engine.kernels.replacing import replace


def prefer_fast_dense() -> None:
    """Lets tall, narrow dense layers compute so in every graph that is traced from now on."""
    replace(keras.layers.Dense, "call", _dense)


def _dense(own: Callable[..., Any]) -> Callable[..., Any]:
    def call(layer: keras.layers.Dense, inputs: tf.Tensor, training: Any = None) -> Any:
        rows, columns = layer.kernel.shape
        plain = isinstance(inputs, tf.Tensor) and len(inputs.shape) == 2 and inputs.dtype == layer.compute_dtype
        if not plain or rows < TALL or columns > NARROW:
            return own(layer, inputs, training=training)  # as it does sparse inputs
        weights = tf.convert_to_tensor(layer.kernel)
        bias = tf.zeros(columns, weights.dtype) if layer.bias is None else tf.convert_to_tensor(layer.bias)
        multiply = native.dense if native.computes(layer) else _turned
        outputs = multiply(inputs, weights, bias)
        return outputs if layer.activation is None else layer.activation(outputs)

    return call


def _turned(inputs: tf.Tensor, weights: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(_product(inputs, weights), bias)


@tf.custom_gradient
def _product(inputs: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
    """`inputs @ weights`: float [batch, rows], [rows, columns] -> [batch, columns].

    TensorFlow would make one operation of product and bias, and oneDNN's slowest kernel of that.
    """
    turned = tf.transpose(weights)  # [columns, rows]
    outputs = tf.transpose(tf.matmul(turned, inputs, transpose_b=True))

    def gradient(outer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        passed_on = tf.matmul(outer, turned)  # [batch, rows]
        with tf.control_dependencies([passed_on]):  # the layers below wait for it, and two products at once are slower
            learned = tf.transpose(tf.matmul(outer, inputs, transpose_a=True))  # [rows, columns]
        return passed_on, learned

    return outputs, gradient
