"""Convolutions with few channels as C++ operations that include bias and relu."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels import native
from tfloop_cli.engine.kernels.patching import Patch


def _convolution(original: Callable[..., Any]) -> Callable[..., Any]:
    def call(layer: keras.layers.Conv2D, inputs: tf.Tensor) -> tf.Tensor:
        if not native.is_used_for(layer) or inputs.dtype != layer.compute_dtype:
            return original(layer, inputs)
        filters, relu = tf.convert_to_tensor(layer.kernel), layer.activation is keras.activations.relu
        bias = native.bias_of(layer, filters)
        try:
            outputs = native.convolution(inputs, filters, bias, relu=relu, same=layer.padding == "same")
        except LookupError:  # in a ForwardAccumulator: the operations have no forward-mode derivative
            return original(layer, inputs)
        return outputs if relu or layer.activation is None else layer.activation(outputs)

    return call


PATCHES = (Patch(keras.layers.Conv2D, "call", _convolution),)
