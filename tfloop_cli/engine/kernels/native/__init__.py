"""tfloop's own kernels, compiled when it was installed: layers of which TensorFlow's fill a part of each vector only.

They are TensorFlow operations, in C++ beside this file. Each has a gradient, and that one has TensorFlow's.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfloop_cli import meta

LIBRARY = Path(__file__).with_name("operations.so")
NEEDED = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
TALL, NARROW, FEW, WIDTH = 4096, 16, 4, 16  # see `computes`


class Native:
    """Whether layers of graphs that are traced from now on take them."""

    threads = 0  # that share an operation; 0: all layers are left to TensorFlow


def why_not() -> str | None:
    """Why they cannot be had here; None where they can."""
    if not LIBRARY.exists():
        return "tfloop was installed without them, for want of a C++ compiler or on another kind of machine"
    if missing := NEEDED - set(meta.cpu()[1]):
        return f"this processor has no AVX-512 ({', '.join(sorted(missing))})"
    try:
        _operations()
    except tf.errors.OpError as error:
        return f"{LIBRARY} cannot be loaded: {error.message}"
    return None


def computes(layer: keras.Layer) -> bool:
    """Whether a layer that is built is computed by them.

    Dense layers of many inputs and few outputs are, and convolutions of few channels to a multiple of 16 filters at
    every place. A fixed rule: the last bits depend on it.
    """
    if not Native.threads or layer.compute_dtype not in _types():
        return False
    if type(layer) is keras.layers.Dense:
        return layer.kernel.shape[0] >= TALL and layer.kernel.shape[1] <= NARROW
    if type(layer) is not keras.layers.Conv2D or layer.data_format != "channels_last":
        return False
    everywhere = layer.strides == (1, 1) == layer.dilation_rate and layer.groups == 1
    *_, channels, filters = layer.kernel.shape
    return everywhere and layer.padding in ("same", "valid") and channels <= FEW and filters % WIDTH == 0


def dense(inputs: tf.Tensor, weights: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """`inputs @ weights + bias`: [batch, many], [many, up to 16], [up to 16] -> [batch, up to 16].

    All of one type, float32 or bfloat16; bfloat16 is multiplied and summed in float32.
    """
    run = _operations()

    @tf.custom_gradient
    def forwards(inputs: tf.Tensor, weights: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        out, turned = run.tfloop_narrow(inputs=inputs, weights=weights, bias=bias, threads=Native.threads)

        def gradient(outer: tf.Tensor) -> list[tf.Tensor]:
            return backwards(inputs, weights, outer)

        @_differentiated_as(_dense_gradient)
        def backwards(inputs: tf.Tensor, weights: tf.Tensor, outer: tf.Tensor) -> list[tf.Tensor]:
            passed_on = run.tfloop_narrow_inputs_gradient(outer=outer, turned=turned, threads=Native.threads)
            with tf.control_dependencies([passed_on]):  # the layers below wait for it
                learned = run.tfloop_narrow_weights_gradient(inputs=inputs, outer=outer, threads=Native.threads)
            return _shaped([passed_on, *learned], [inputs.shape, weights.shape, bias.shape])

        out.set_shape([inputs.shape[0], weights.shape[1]])
        return out, gradient

    return forwards(inputs, weights, bias)


def convolution(images: tf.Tensor, filters: tf.Tensor, bias: tf.Tensor, *, relu: bool, same: bool) -> tf.Tensor:
    """`relu(conv2d(images, filters) + bias)`, at every place.

    Args:
        images: float32 or bfloat16 [batch, height, width, channels].
        filters: of the same type, [taps_down, taps_across, channels, a multiple of 16].
        bias: of the same type, one for each filter.
        relu: whether to replace what is negative by 0.
        same: whether the images keep their height and width; else only places whose taps all lie within count.
    """
    run, how = _operations(), {"relu": relu, "same": same}

    @tf.custom_gradient
    def forwards(images: tf.Tensor, filters: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        out = run.tfloop_convolution(images=images, filters=filters, bias=bias, threads=Native.threads, **how)

        def gradient(outer: tf.Tensor) -> list[tf.Tensor]:
            # What is passed on is by TensorFlow; of a first layer nobody asks for it, and the graph does without.
            passed_on = _images_gradient(images, filters, out, outer, **how)
            return [passed_on, *backwards(images, filters, out, outer)]

        @_differentiated_as(lambda *tensors: _filters_gradient(*tensors, **how))
        def backwards(images: tf.Tensor, filters: tf.Tensor, out: tf.Tensor, outer: tf.Tensor) -> list[tf.Tensor]:
            learned = run.tfloop_convolution_gradient(
                images=images, filters=filters, out=out, outer=outer, threads=Native.threads, **how
            )
            return _shaped(list(learned), [filters.shape, bias.shape])

        lost = (0, 0) if same else (filters.shape[0] - 1, filters.shape[1] - 1)
        sides = [None if side is None else side - less for side, less in zip(images.shape[1:3], lost, strict=True)]
        out.set_shape([images.shape[0], *sides, filters.shape[3]])
        return out, gradient

    return forwards(images, filters, bias)


@cache
def _operations() -> Any:
    return tf.load_op_library(str(LIBRARY))


@cache
def _types() -> tuple[str, ...]:
    return ("float32", "bfloat16") if "avx512_bf16" in meta.cpu()[1] else ("float32",)


def _shaped(tensors: list[tf.Tensor], shapes: list[tf.TensorShape]) -> list[tf.Tensor]:
    for tensor, shape in zip(tensors, shapes, strict=True):
        tensor.set_shape(shape)
    return tensors


def _differentiated_as(theirs: Callable[..., list[tf.Tensor]]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a function the gradient of another one that computes the same: for gradients of gradients."""

    def decorate(ours: Callable[..., list[tf.Tensor]]) -> Callable[..., Any]:
        @tf.custom_gradient
        def function(*tensors: tf.Tensor) -> tuple[list[tf.Tensor], Callable[..., Any]]:
            def gradient(*outer: tf.Tensor) -> list[tf.Tensor | None]:
                with tf.GradientTape() as tape:
                    tape.watch(tensors)
                    results = theirs(*tensors)
                return tape.gradient(results, tensors, output_gradients=list(outer))

            return ours(*tensors), gradient

        return function

    return decorate


def _dense_gradient(inputs: tf.Tensor, weights: tf.Tensor, outer: tf.Tensor) -> list[tf.Tensor]:
    learned = tf.matmul(inputs, outer, transpose_a=True)
    return [tf.matmul(outer, weights, transpose_b=True), learned, tf.reduce_sum(outer, axis=0)]


def _images_gradient(images: tf.Tensor, filters: tf.Tensor, out: tf.Tensor, outer: tf.Tensor, **how: bool) -> tf.Tensor:
    outer, places = _let_through(out, outer, **how)
    return tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(images), filter=filters, out_backprop=outer, **places)


def _filters_gradient(
    images: tf.Tensor, filters: tf.Tensor, out: tf.Tensor, outer: tf.Tensor, **how: bool
) -> list[tf.Tensor]:
    outer, places = _let_through(out, outer, **how)
    learned = tf.raw_ops.Conv2DBackpropFilter(
        input=images, filter_sizes=tf.shape(filters), out_backprop=outer, **places
    )
    return [learned, tf.reduce_sum(outer, axis=[0, 1, 2])]


def _let_through(out: tf.Tensor, outer: tf.Tensor, *, relu: bool, same: bool) -> tuple[tf.Tensor, dict[str, Any]]:
    outer = tf.where(out > 0, outer, tf.zeros_like(outer)) if relu else outer
    return outer, {"strides": [1, 1, 1, 1], "padding": "SAME" if same else "VALID"}
