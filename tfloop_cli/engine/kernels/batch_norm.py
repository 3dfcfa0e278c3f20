"""Batch normalization as one fused operation, where Keras uses a dozen."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels.patching import Patch


def _batch_norm(original: Callable[..., Any]) -> Callable[..., Any]:
    """Outputs and moving statistics equal Keras' within rounding; the variables are Keras' own."""

    def call(layer: keras.layers.BatchNormalization, inputs: tf.Tensor, training: Any = None, mask: Any = None) -> Any:
        if training is True and mask is None and _is_fusible(layer, inputs):
            return _train(layer, inputs)
        return original(layer, inputs, training=training, mask=mask)

    return call


PATCHES = (Patch(keras.layers.BatchNormalization, "call", _batch_norm),)


def _is_fusible(layer: keras.layers.BatchNormalization, inputs: tf.Tensor) -> bool:
    """Whether the operation supports it: float32 or bfloat16 [batch, height, width, channels], float32 statistics."""
    standard = layer.trainable and not layer.renorm and not layer.synchronized
    images = len(inputs.shape) == 4 and layer.axis in (-1, 3)
    return standard and images and inputs.dtype in ("float32", "bfloat16") and layer.variable_dtype == "float32"


def _train(layer: keras.layers.BatchNormalization, inputs: tf.Tensor) -> tf.Tensor:
    moving_mean, moving_variance = layer.moving_mean, layer.moving_variance  # each float32 [channels]
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=layer.gamma if layer.scale else tf.ones_like(moving_mean),
        offset=layer.beta if layer.center else tf.zeros_like(moving_mean),
        mean=[],
        variance=[],
        epsilon=layer.epsilon,
        is_training=True,
    )
    count = tf.cast(tf.size(inputs) / inputs.shape[-1], tf.float32)
    variance *= (count - 1) / count  # the operation divides by count - 1, Keras by count
    moving_mean.assign(moving_mean * layer.momentum + mean * (1 - layer.momentum))
    moving_variance.assign(moving_variance * layer.momentum + variance * (1 - layer.momentum))
    return outputs
