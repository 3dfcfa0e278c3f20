"""The gradient of a convolution's bias as a matrix product: TensorFlow's numbers within rounding, sooner on a CPU."""

from collections.abc import Callable

import tensorflow as tf
from tensorflow.python.framework import ops

from tfloop_cli.engine.kernels.replacing import replace

Gradient = Callable[[tf.Operation, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def prefer_fast_bias_gradient() -> None:
    """Lets every graph that is traced from now on compute the gradients of biases so.

    What is registered for an operation can only be replaced where TensorFlow keeps it, which is not public: if another
    version keeps it elsewhere, they stay TensorFlow's own.
    """
    registry = getattr(ops.gradient_registry, "_registry", {})
    if "type" in registry.get("BiasAdd", {}):
        replace(registry["BiasAdd"], "type", _bias_gradient)


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
