"""Gradients whose kernels TensorFlow has, and does not take: the same numbers within rounding, sooner on a CPU."""

from collections.abc import Callable

import tensorflow as tf
from tensorflow.python.framework import ops

from tfloop_cli.engine.kernels.replacing import replace

Gradient = Callable[[tf.Operation, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

# Where the weights of a dense layer have at least so many rows and at most so many columns, their gradient is faster to
# compute transposed (docs/performance.md).
TALL, NARROW = 4096, 16


def prefer_fast_gradients() -> None:
    """Lets every graph that is traced from now on compute some gradients by other operations.

    What is registered for an operation can only be replaced where TensorFlow keeps it, which is not public: if another
    version keeps it elsewhere, the gradients stay TensorFlow's own.
    """
    registry = getattr(ops.gradient_registry, "_registry", {})
    for name, make in {"BiasAdd": _bias_gradient, "MatMul": _dense_gradient}.items():
        if "type" in registry.get(name, {}):
            replace(registry[name], "type", make)


def _bias_gradient(own: Gradient) -> Gradient:
    """Of `inputs + bias`: float [batch, ..., channels] -> the same for the inputs, [channels] for the bias.

    The bias's is a sum over batch and places. Left alone, TensorFlow merges that sum with the gradient of a
    convolution's filters into one oneDNN kernel that takes longer than both by themselves. A matrix product it leaves.
    """

    def gradient(op: tf.Operation, outer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        channels = outer.shape[-1]
        if op.get_attr("data_format") != b"NHWC" or len(outer.shape) < 3 or channels is None:
            return own(op, outer)
        rows = tf.reshape(outer, [-1, channels])  # [batch * places, channels]
        ones = tf.ones([1, tf.shape(rows)[0]], outer.dtype)
        return outer, tf.reshape(tf.matmul(ones, rows), [channels])

    return gradient


def _dense_gradient(own: Gradient) -> Gradient:
    """Of `inputs @ weights`: float [batch, columns] -> [batch, rows] for the inputs, and the weights' own shape."""

    def gradient(op: tf.Operation, outer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, weights = op.inputs
        plain = outer.dtype.is_floating and not (op.get_attr("transpose_a") or op.get_attr("transpose_b"))
        if not (plain and weights.shape.is_fully_defined() and weights.shape[0] >= TALL and weights.shape[1] <= NARROW):
            return own(op, outer)
        passed_on = tf.matmul(outer, weights, transpose_b=True)  # [batch, rows]
        with tf.control_dependencies([passed_on]):  # the layers below wait for it, and two products at once are slower
            learned = tf.transpose(tf.matmul(outer, inputs, transpose_a=True))  # [rows, columns]
        return passed_on, learned

    return gradient
