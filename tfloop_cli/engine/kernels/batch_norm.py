"""Batch normalization as fused operations with exact statistics, where Keras uses a dozen operations."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels.patching import Patch

VECTOR_BYTES = 32


def _batch_norm(original: Callable[..., Any]) -> Callable[..., Any]:
    """Outputs and moving statistics equal Keras' within rounding; the variables are Keras' own."""

    def call(layer: keras.layers.BatchNormalization, inputs: tf.Tensor, training: Any = None, mask: Any = None) -> Any:
        if training is True and mask is None and _is_fusible(layer, inputs):
            return _train(layer, inputs)
        return original(layer, inputs, training=training, mask=mask)

    return call


PATCHES = (Patch(keras.layers.BatchNormalization, "call", _batch_norm),)


def _is_fusible(layer: keras.layers.BatchNormalization, inputs: tf.Tensor) -> bool:
    """Whether the operations support it: float32 or bfloat16 [batch, height, width, channels], float32 statistics.

    The channels must fill vectors. Otherwise the operations compute plain sums, which are neither exact nor fast.
    """
    standard = layer.trainable and not layer.renorm and not layer.synchronized
    images = len(inputs.shape) == 4 and layer.axis in (-1, 3) and inputs.shape[-1] is not None
    dtypes = inputs.dtype in ("float32", "bfloat16") and layer.variable_dtype == "float32"
    return standard and images and dtypes and inputs.shape[-1] * inputs.dtype.size % VECTOR_BYTES == 0


def _train(layer: keras.layers.BatchNormalization, inputs: tf.Tensor) -> tf.Tensor:
    moving_mean, moving_variance = layer.moving_mean, layer.moving_variance  # each float32 [channels]
    scale = tf.convert_to_tensor(layer.gamma) if layer.scale else tf.ones_like(moving_mean)
    offset = tf.convert_to_tensor(layer.beta) if layer.center else tf.zeros_like(moving_mean)
    mean, variance = _moments(tf.stop_gradient(inputs))
    moving_mean.assign(moving_mean * layer.momentum + mean * (1 - layer.momentum))
    moving_variance.assign(moving_variance * layer.momentum + variance * (1 - layer.momentum))

    @tf.custom_gradient
    def normalize(inputs: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        outputs, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=scale, offset=offset, mean=mean, variance=variance, epsilon=layer.epsilon, is_training=False
        )

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            # The gradient in training: it includes that of mean and variance.
            return tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=upstream,
                x=inputs,
                scale=scale,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=tf.zeros([0]),
                epsilon=layer.epsilon,
                is_training=True,
            )[:3]

        return outputs, gradient

    return normalize(inputs, scale, offset)


def _moments(inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns mean and variance of the channels: float [batch, height, width, channels] -> float32 [channels], twice.

    FusedBatchNormV3 computes them by one float32 sum of all positions, whose errors reach every gradient. Here, it has
    those of each position over the batch; mean and variance of a channel follow from those of its positions.
    """
    channels, batch = inputs.shape[-1], tf.cast(tf.shape(inputs)[0], tf.float32)
    size = inputs.shape[1:].num_elements() or tf.reduce_prod(tf.shape(inputs)[1:])
    _, means, variances, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.reshape(inputs, [-1, 1, 1, size]),
        scale=tf.ones([size]),
        offset=tf.zeros([size]),
        mean=[],
        variance=[],
        is_training=True,
    )
    means, variances = tf.reshape(means, [-1, channels]), tf.reshape(variances, [-1, channels])
    variances *= (batch - 1) / batch  # the operation divides by batch - 1
    mean = tf.reduce_mean(means, axis=0)
    return mean, tf.reduce_mean(variances + tf.math.squared_difference(means, mean), axis=0)
