"""Attention, layer normalization and gelu with operations that are fast on a CPU; results are equal within rounding."""

import math
import re
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels.patching import Patch

FLOATS = ("float32", "float64")  # half precision has intermediate casts, and is left to Keras


def _einsum_dense(original: Callable[..., Any]) -> Callable[..., Any]:
    """A dense layer over the last axes as one matrix product; the gradient of an einsum is one product per example."""

    def call(layer: keras.layers.EinsumDense, inputs: tf.Tensor, training: Any = None) -> Any:
        summed = _summed_axes(layer.equation)
        weights = tf.convert_to_tensor(layer.kernel)  # [summed axes, new axes]
        if not summed or weights.shape[:summed] != inputs.shape[-summed:]:
            return original(layer, inputs, training=training)
        new = weights.shape[summed:]
        rows = tf.reshape(inputs, [-1, math.prod(weights.shape[:summed])])
        outputs = tf.matmul(rows, tf.reshape(weights, [-1, math.prod(new)]))  # [positions, new]
        positions = tf.shape(inputs)[:-summed]
        if full_bias := layer.bias is not None and layer.bias.shape == new:
            # With the axes of the inputs, which the gradient of the bias sums one after the other.
            outputs = tf.reshape(outputs, tf.concat([positions, [math.prod(new)]], axis=0))
            outputs.set_shape([*inputs.shape[:-summed], math.prod(new)])
            outputs = tf.nn.bias_add(outputs, tf.reshape(layer.bias, [-1]))
        outputs = tf.reshape(outputs, tf.concat([positions, new], axis=0))
        outputs.set_shape([*inputs.shape[:-summed], *new])
        if layer.bias is not None and not full_bias:
            outputs += layer.bias
        return outputs if layer.activation is None else layer.activation(outputs)

    return call


def _summed_axes(equation: str) -> int:
    """Returns how many axes an EinsumDense contracts: the last of the inputs and the first of the weights; else 0.

    It is 1 for "abc,cd->abd" and 2 for "abcd,cde->abe".
    """
    parts = re.fullmatch(r"(\w+),(\w+)->(\w+)", equation.replace(" ", ""))
    if not parts:
        return 0
    inputs, weights, outputs = parts.groups()
    summed = sum(axis in inputs for axis in weights)
    fits = inputs[-summed:] == weights[:summed] and outputs == inputs[:-summed] + weights[summed:]
    return summed if fits and len(set(inputs + weights)) == len(inputs + weights) - summed else 0


def _attention(original: Callable[..., Any]) -> Callable[..., Any]:
    """The products of attention as batched matrix products; the gradients of an einsum take several times as long."""

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
        unsupported = layer.dropout or return_attention_scores or use_causal_mask or attention_mask is not None
        if unsupported or len(query.shape) != 4 or query.dtype not in FLOATS:
            options = attention_mask, training, return_attention_scores, use_causal_mask
            return original(layer, query, key, value, *options)
        # each [batch, positions, heads, dimension] -> [batch, heads, positions, dimension]
        query, key, value = (tf.transpose(one, [0, 2, 1, 3]) for one in (query, key, value))
        query *= tf.cast(1 / math.sqrt(query.shape[-1]), query.dtype)  # rounded to float32, as in Keras
        scores = tf.matmul(query, key, transpose_b=True)  # [batch, heads, queries, keys]
        return tf.transpose(tf.matmul(tf.nn.softmax(scores), value), [0, 2, 1, 3]), None

    return compute


def _layer_norm(original: Callable[..., Any]) -> Callable[..., Any]:
    def call(layer: keras.layers.LayerNormalization, inputs: tf.Tensor) -> Any:
        last = list(layer.axis) if isinstance(layer.axis, list | tuple) else [layer.axis]
        if last not in ([-1], [len(inputs.shape) - 1]) or layer.rms_scaling or inputs.dtype not in FLOATS:
            return original(layer, inputs)
        outputs = _normalized(inputs, layer.epsilon)
        outputs = outputs if layer.gamma is None else outputs * layer.gamma
        return outputs if layer.beta is None else outputs + layer.beta

    return call


def _normalized(inputs: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Normalizes to mean 0 and variance 1 along the last axis: float [..., dimension] -> the same shape."""

    @tf.custom_gradient  # the gradients of the single operations read the inputs three times as often
    def normalize(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        centered = inputs - tf.reduce_mean(inputs, axis=-1, keepdims=True)
        scale = tf.math.rsqrt(tf.reduce_mean(tf.square(centered), axis=-1, keepdims=True) + epsilon)
        outputs = centered * scale

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            along = tf.reduce_mean(upstream * outputs, axis=-1, keepdims=True)
            return scale * (upstream - tf.reduce_mean(upstream, axis=-1, keepdims=True) - outputs * along)

        return outputs, gradient

    return normalize(inputs)


def _gelu(original: Callable[..., Any]) -> Callable[..., Any]:
    def gelu(features: Any, approximate: bool = False, name: str | None = None) -> tf.Tensor:
        features = tf.convert_to_tensor(features)
        if approximate or features.dtype not in FLOATS:
            return original(features, approximate, name)
        return _exact_gelu(features)

    return gelu


PATCHES = (
    Patch(keras.layers.EinsumDense, "call", _einsum_dense),
    Patch(keras.layers.MultiHeadAttention, "_compute_attention", _attention),
    Patch(keras.layers.LayerNormalization, "call", _layer_norm),
    Patch(tf.nn, "gelu", _gelu),
)


@tf.custom_gradient
def _exact_gelu(features: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Computes x times the cumulative normal distribution at x (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""
    root = tf.cast(math.sqrt(0.5), features.dtype)  # rounded to float32, as in TensorFlow
    below = 0.5 * tf.math.erfc(features * -root)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        density = tf.exp(-tf.square(features * root)) * (root / math.sqrt(math.pi))
        return upstream * (below + features * density)

    return features * below, gradient
