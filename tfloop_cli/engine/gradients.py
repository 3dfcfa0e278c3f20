"""Gradients whose kernels TensorFlow has, and does not take: the same numbers within rounding, sooner on a CPU."""

import tensorflow as tf
from tensorflow.python.framework import ops


def prefer_fast_bias_gradient() -> None:
    """Lets the bias of a convolution learn by a matrix product, in every graph that is traced from now on.

    The gradient of a bias is a sum over batch and places. Left alone, TensorFlow merges that sum with the gradient of
    the filters into one oneDNN kernel that takes longer than both by themselves (docs/performance.md). What is
    registered for an operation can only be replaced where TensorFlow keeps it, which is not public: if another
    version keeps it elsewhere, the gradient stays TensorFlow's own.
    """
    known = getattr(ops.gradient_registry, "_registry", {}).get("BiasAdd", {})
    own = known.get("type")
    if own is None or own is _fast_bias_gradient:
        return
    _fast_bias_gradient.tensorflow = own
    known["type"] = _fast_bias_gradient


def _fast_bias_gradient(op: tf.Operation, gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Of `inputs + bias`: float [batch, ..., channels] -> the same for the inputs, [channels] for the bias."""
    channels = gradient.shape[-1]
    if op.get_attr("data_format") != b"NHWC" or len(gradient.shape) < 3 or channels is None:
        return _fast_bias_gradient.tensorflow(op, gradient)
    rows = tf.reshape(gradient, [-1, channels])  # [batch * places, channels]
    ones = tf.ones([1, tf.shape(rows)[0]], gradient.dtype)
    return gradient, tf.reshape(tf.matmul(ones, rows), [channels])
