"""What transformers are made of, by the operations that are fast on a CPU: the same numbers within rounding, sooner."""

import math
import re
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels.replacing import replace

FLOATS = ("float32", "float64")  # in half precision Keras takes steps between that are left to it


def prefer_fast_transformers() -> None:
    """Lets attention, layer norm and gelu compute so in every graph that is traced from now on."""
    replace(keras.layers.EinsumDense, "call", _einsum_dense)
    replace(keras.layers.MultiHeadAttention, "_compute_attention", _attention)
    replace(keras.layers.LayerNormalization, "call", _layer_norm)
    replace(tf.nn, "gelu", _gelu)


def _einsum_dense(own: Callable[..., Any]) -> Callable[..., Any]:
    """A dense layer over the last axes as one matrix product: an einsum's gradient is a product for each example."""

    def call(layer: keras.layers.EinsumDense, inputs: tf.Tensor, training: Any = None) -> Any:
        summed = _summed_axes(layer.equation)
        weights = tf.convert_to_tensor(layer.kernel)  # [summed axes, new axes]
        if not summed or weights.shape[:summed] != inputs.shape[-summed:]:
            return own(layer, inputs, training=training)
        new = weights.shape[summed:]
        rows = tf.reshape(inputs, [-1, math.prod(weights.shape[:summed])])
        outputs = tf.matmul(rows, tf.reshape(weights, [-1, math.prod(new)]))  # [places, new]
        if whole := layer.bias is not None and layer.bias.shape == new:
            outputs = tf.nn.bias_add(outputs, tf.reshape(layer.bias, [-1]))
        outputs = tf.reshape(outputs, tf.concat([tf.shape(inputs)[:-summed], new], axis=0))
        outputs.set_shape([*inputs.shape[:-summed], *new])
        if layer.bias is not None and not whole:
            outputs += layer.bias
        return outputs if layer.activation is None else layer.activation(outputs)

    return call


def _summed_axes(equation: str) -> int:
    """Over how many axes an EinsumDense sums, if they are the last of its inputs and the first of its weights; else 0.

    "abc,cd->abd" sums over one, "abcd,cde->abe" over two.
    """
    parts = re.fullmatch(r"(\w+),(\w+)->(\w+)", equation.replace(" ", ""))
    if not parts:
        return 0
    inputs, weights, outputs = parts.groups()
    summed = sum(axis in inputs for axis in weights)
    fits = inputs[-summed:] == weights[:summed] and outputs == inputs[:-summed] + weights[summed:]
    return summed if fits and len(set(inputs + weights)) == len(inputs + weights) - summed else 0


def _attention(own: Callable[..., Any]) -> Callable[..., Any]:
    """The two products of attention as batches of matrices: an einsum's gradients take several times as long."""

    def compute(
        layer: keras.layers.MultiHeadAttention,
        query: tf.Tensor,
        key: tf.Tensor,
        value: tf.Tensor,
        attention_mask: Any = None,
        training: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        more = layer.dropout or return_attention_scores or use_causal_mask or attention_mask is not None
        if more or len(query.shape) != 4 or query.dtype not in FLOATS:
            asked = attention_mask, training, return_attention_scores, use_causal_mask
            return own(layer, query, key, value, *asked)
        # each [batch, places, heads, width] -> [batch, heads, places, width]
        query, key, value = (tf.transpose(one, [0, 2, 1, 3]) for one in (query, key, value))
        query *= tf.cast(1 / math.sqrt(query.shape[-1]), query.dtype)  # through float32, as Keras has it
        scores = tf.matmul(query, key, transpose_b=True)  # [batch, heads, queries, keys]
        return tf.transpose(tf.matmul(tf.nn.softmax(scores), value), [0, 2, 1, 3]), None

    return compute


def _layer_norm(own: Callable[..., Any]) -> Callable[..., Any]:
    def call(layer: keras.layers.LayerNormalization, inputs: tf.Tensor) -> Any:
        last = list(layer.axis) if isinstance(layer.axis, list | tuple) else [layer.axis]
        if last not in ([-1], [len(inputs.shape) - 1]) or layer.rms_scaling or inputs.dtype not in FLOATS:
            return own(layer, inputs)
        outputs = _normalized(inputs, layer.epsilon)
        outputs = outputs if layer.gamma is None else outputs * layer.gamma
        return outputs if layer.beta is None else outputs + layer.beta

    return call


def _normalized(inputs: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Mean 0 and variance 1 along the last axis: float [..., width] -> the same shape."""

    @tf.custom_gradient  # TensorFlow's, of each operation, goes three times as often over the inputs
    def normalize(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        centred = inputs - tf.reduce_mean(inputs, axis=-1, keepdims=True)
        scale = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True) + epsilon)
        outputs = centred * scale

        def gradient(outer: tf.Tensor) -> tf.Tensor:
            along = tf.reduce_mean(outer * outputs, axis=-1, keepdims=True)
            return scale * (outer - tf.reduce_mean(outer, axis=-1, keepdims=True) - outputs * along)

        return outputs, gradient

    return normalize(inputs)


def _gelu(own: Callable[..., Any]) -> Callable[..., Any]:
    def gelu(features: Any, approximate: bool = False, name: str | None = None) -> tf.Tensor:
        features = tf.convert_to_tensor(features)
        if approximate or features.dtype not in FLOATS:
            return own(features, approximate, name)
        return _exact_gelu(features)

    return gelu


@tf.custom_gradient
def _exact_gelu(features: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Each number times the share of a normal distribution below it (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""
    root = tf.cast(math.sqrt(0.5), features.dtype)  # through float32, as TensorFlow has it
    below = 0.5 * tf.math.erfc(features * -root)

    def gradient(outer: tf.Tensor) -> tf.Tensor:
        density = tf.exp(-tf.square(features * root)) * (root / math.sqrt(math.pi))
        return outer * (below + features * density)

    return features * below, gradient
