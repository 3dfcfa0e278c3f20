"""Convolutions of few channels by tfloop's own kernels, with bias and relu in them."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels import native
from tfloop_cli.engine.kernels.replacing import replace


def prefer_native_convolutions() -> None:
    """Lets them compute so in every graph that is traced from now on, where `native.computes` them."""
    replace(keras.layers.Conv2D, "call", _convolution)


def _convolution(own: Callable[..., Any]) -> Callable[..., Any]:
    def call(layer: keras.layers.Conv2D, inputs: tf.Tensor) -> tf.Tensor:
        if not native.computes(layer) or inputs.dtype != layer.compute_dtype:
            return own(layer, inputs)
        filters, relu = tf.convert_to_tensor(layer.kernel), layer.activation is keras.activations.relu
        bias = tf.zeros(filters.shape[3], filters.dtype) if layer.bias is None else tf.convert_to_tensor(layer.bias)
        out = native.convolution(inputs, filters, bias, relu=relu, same=layer.padding == "same")
        return out if relu or layer.activation is None else layer.activation(out)

    return call
