"""Max pooling as a C++ operation. Its gradient includes that of a relu before it, whose outputs are then not kept."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework import ops

from tfloop_cli.engine.kernels import native
from tfloop_cli.engine.kernels.patching import Patch
from tfloop_cli.engine.kernels.settings import current_settings

WINDOW = (2, 2)
POOLING, GRADIENT = "TfloopMaxPool", "TfloopMaxPoolGradient"

Gradient = Callable[[tf.Operation, tf.Tensor], tf.Tensor]


def max_pool(inputs: tf.Tensor, *, same: bool) -> tf.Tensor:
    """Computes the maximum of each window of 2x2 pixels, with stride 2. A maximum with NaN is NaN.

    Args:
        inputs: float32 or bfloat16 [batch, height, width, channels]; only the batch size may be unknown.
        same: whether padding is "same": the last window of an odd side has one row or column; else "valid": none.
    """
    outputs, _ = native.operations().tfloop_max_pool(
        inputs=inputs, same=same, threads=current_settings().native_threads
    )
    outputs.set_shape([inputs.shape[0], *((side + same) // 2 for side in inputs.shape[1:3]), inputs.shape[3]])
    return outputs


def _supports(layer: keras.layers.MaxPooling2D, inputs: tf.Tensor) -> bool:
    supported = type(layer) is keras.layers.MaxPooling2D and layer.pool_size == layer.strides == WINDOW
    known = inputs.dtype in native.dtypes() and None not in inputs.shape[1:]
    return supported and layer.data_format == "channels_last" and known


@tf.RegisterGradient(POOLING)
def _gradient(op: tf.Operation, upstream: tf.Tensor, _: tf.Tensor | None) -> tf.Tensor:
    return _inputs_gradient(op, upstream, op.outputs[1], op.inputs[0].shape, relu=False)


def _inputs_gradient(
    op: tf.Operation, upstream: tf.Tensor, positions: tf.Tensor, shape: tf.TensorShape, *, relu: bool
) -> tf.Tensor:
    gradient = native.operations().tfloop_max_pool_gradient(
        upstream=upstream, positions=positions, relu=relu, height=shape[1], width=shape[2],
        same=op.get_attr("same"), threads=op.get_attr("threads"),
    )  # fmt: skip
    gradient.set_shape(shape)
    return gradient


@tf.RegisterGradient(GRADIENT)
def _second_gradient(op: tf.Operation, upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
    """The gradient of the gradient: the values of `upstream` at the positions of the maxima."""
    pooled, positions = op.inputs
    batch, height, width, channels = tf.unstack(tf.shape(pooled), 4)
    inside = upstream[:, : 2 * height, : 2 * width]
    _, inside_height, inside_width, _ = tf.unstack(tf.shape(inside), 4)
    padded = tf.pad(inside, [[0, 0], [0, 2 * height - inside_height], [0, 2 * width - inside_width], [0, 0]])
    windows = tf.transpose(tf.reshape(padded, [batch, height, 2, width, 2, channels]), [0, 1, 3, 2, 4, 5])
    windows = tf.reshape(windows, [batch, height, width, 4, channels])
    known = tf.bitwise.bitwise_and(positions, 255 if op.get_attr("relu") else 3)  # 4 is added if it is not positive
    is_maximum = tf.one_hot(known, 4, axis=3, dtype=upstream.dtype)
    return tf.reduce_sum(windows * is_maximum, axis=3), None


def _pooling(original: Callable[..., Any]) -> Callable[..., Any]:
    def call(layer: keras.layers.MaxPooling2D, inputs: tf.Tensor) -> tf.Tensor:
        if not current_settings().native_threads or not _supports(layer, inputs):
            return original(layer, inputs)
        return max_pool(inputs, same=layer.padding == "same")

    return call


def _relu_gradient(original: Gradient) -> Gradient:
    """The gradient of relu: of the shape of `upstream`.

    If only a max pooling uses the outputs of relu, the positions of the maxima tell where its outputs are positive.
    """

    def gradient(op: tf.Operation, upstream: tf.Tensor) -> tf.Tensor:
        pooling = _pooling_of(upstream, op.outputs[0])
        if pooling is None:
            return original(op, upstream)
        return _inputs_gradient(pooling, *pooling.inputs, upstream.shape, relu=True)

    return gradient


def _pooling_of(gradient: tf.Tensor, outputs: tf.Tensor) -> tf.Operation | None:
    """Returns the operation that computes a gradient if it is that of a max pooling of relu's outputs."""
    if not tf.is_symbolic_tensor(gradient) or gradient.op.type != GRADIENT:
        return None
    positions = gradient.op.inputs[1].op
    return gradient.op if positions.type == POOLING and positions.inputs[0] is outputs else None


def find_patches() -> tuple[Patch, ...]:
    """Returns the patches; without that of relu if this version of TensorFlow keeps its gradients elsewhere."""
    registry = getattr(ops.gradient_registry, "_registry", {})
    relu = (Patch(registry["Relu"], "type", _relu_gradient),) if "type" in registry.get("Relu", {}) else ()
    return (Patch(keras.layers.MaxPooling2D, "call", _pooling), *relu)


PATCHES = find_patches()
