"""Batch norm by TensorFlow's one kernel for it, where Keras composes a dozen operations."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels.replacing import replace


def prefer_fused_batch_norm() -> None:
    """Lets every BatchNormalization of images that trains compute by one kernel, in graphs traced from now on.

    Its numbers and averages are Keras' within rounding (tests/engine/test_batch_norm.py), its variables Keras' own.
    """
    replace(keras.layers.BatchNormalization, "call", _batch_norm)


def _batch_norm(own: Callable[..., Any]) -> Callable[..., Any]:
    def call(layer: keras.layers.BatchNormalization, inputs: tf.Tensor, training: Any = None, mask: Any = None) -> Any:
        if training is True and mask is None and _is_fusible(layer, inputs):
            return _train(layer, inputs)
        return own(layer, inputs, training=training, mask=mask)

    return call


def _is_fusible(layer: keras.layers.BatchNormalization, inputs: tf.Tensor) -> bool:
    """Whether it does what the kernel does: float32 or bfloat16 [batch, height, width, channels], float32 averages."""
    plain = layer.trainable and not layer.renorm and not layer.synchronized
    images = len(inputs.shape) == 4 and layer.axis in (-1, 3)
    return plain and images and inputs.dtype in ("float32", "bfloat16") and layer.variable_dtype == "float32"


def _train(layer: keras.layers.BatchNormalization, inputs: tf.Tensor) -> tf.Tensor:
    average, spread = layer.moving_mean, layer.moving_variance  # each float32 [channels]
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=layer.gamma if layer.scale else tf.ones_like(average),
        offset=layer.beta if layer.center else tf.zeros_like(average),
        mean=[],
        variance=[],
        epsilon=layer.epsilon,
        is_training=True,
    )
    count = tf.cast(tf.size(inputs) / inputs.shape[-1], tf.float32)
    variance *= (count - 1) / count  # the kernel divides by one less than there are, Keras does not
    average.assign(average * layer.momentum + mean * (1 - layer.momentum))
    spread.assign(spread * layer.momentum + variance * (1 - layer.momentum))
    return outputs
