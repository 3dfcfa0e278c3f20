"""Custom C++ operations, compiled at installation, where TensorFlow's are slow.

They are layers for which TensorFlow uses only a part of each vector, and the update of Adam, for which it needs several
operations. The C++ code is next to this file. Each layer has a gradient, whose own gradient is computed by TensorFlow's
operations.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfloop_cli import hardware
from tfloop_cli.engine.kernels.settings import current_settings

LIBRARY = Path(__file__).with_name("operations.so")
REQUIRED_CPU_FLAGS = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
MIN_INPUTS, MAX_UNITS = 4096, 16  # of a dense layer
MAX_CHANNELS, FILTERS_MULTIPLE = 4, 16  # of a convolution
MAX_ADAM_SIZE = 2**22  # elements of a variable


def unavailable_reason() -> str | None:
    """Returns why the operations are not available on this machine; None if they are."""
    if not LIBRARY.exists():
        return "tfloop was installed without them: no C++ compiler, or another platform than x86-64 Linux"
    if missing := REQUIRED_CPU_FLAGS - set(hardware.cpu()[1]):
        return f"this processor has no AVX-512 ({', '.join(sorted(missing))})"
    try:
        operations()
    except tf.errors.OpError as error:
        return f"{LIBRARY} cannot be loaded: {error.message}"
    return None


def supports(layer: keras.Layer) -> bool:
    """Whether the operations can compute a layer that is built.

    They support dense layers of many inputs and few units, and convolutions of few channels with a multiple of 16
    filters and stride 1. The rule is fixed because results differ in rounding.
    """
    if layer.compute_dtype not in dtypes() or not layer.built:  # a layer that the model holds and never calls
        return False
    if type(layer) is keras.layers.Dense:
        return layer.kernel.shape[0] >= MIN_INPUTS and layer.kernel.shape[1] <= MAX_UNITS
    if type(layer) is not keras.layers.Conv2D or layer.data_format != "channels_last":
        return False
    dense_taps = layer.strides == (1, 1) == layer.dilation_rate and layer.groups == 1
    *_, channels, filters = layer.kernel.shape
    supported_shape = channels <= MAX_CHANNELS and filters % FILTERS_MULTIPLE == 0
    return dense_taps and layer.padding in ("same", "valid") and supported_shape


def is_used_for(layer: keras.Layer) -> bool:
    """Whether the current settings compute a layer with the operations."""
    return current_settings().native_threads > 0 and supports(layer)


def bias_of(layer: keras.Layer, weights: tf.Tensor) -> tf.Tensor:
    """Returns the bias of a layer, zeros if it has none: [units] or [filters], of the dtype of `weights`."""
    return tf.zeros(weights.shape[-1], weights.dtype) if layer.bias is None else tf.convert_to_tensor(layer.bias)


def dense(inputs: tf.Tensor, weights: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Computes `inputs @ weights + bias`: [batch, features], [features, units], [units] -> [batch, units].

    At most 16 units. All tensors are float32 or all bfloat16; bfloat16 is multiplied and summed in float32.
    """
    run, threads = operations(), current_settings().native_threads

    @tf.custom_gradient
    def forward(inputs: tf.Tensor, weights: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        outputs, transposed = run.tfloop_narrow(inputs=inputs, weights=weights, bias=bias, threads=threads)

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            return backward(inputs, weights, upstream)

        @_with_gradient_of(_dense_gradient)
        def backward(inputs: tf.Tensor, weights: tf.Tensor, upstream: tf.Tensor) -> list[tf.Tensor]:
            inputs_gradient = run.tfloop_narrow_inputs_gradient(
                upstream=upstream, transposed=transposed, threads=threads
            )
            with tf.control_dependencies([inputs_gradient]):  # the layers below wait for it
                others = run.tfloop_narrow_weights_gradient(inputs=inputs, upstream=upstream, threads=threads)
            return _with_shapes([inputs_gradient, *others], [inputs.shape, weights.shape, bias.shape])

        outputs.set_shape([inputs.shape[0], weights.shape[1]])
        return outputs, gradient

    return forward(inputs, weights, bias)


def convolution(images: tf.Tensor, filters: tf.Tensor, bias: tf.Tensor, *, relu: bool, same: bool) -> tf.Tensor:
    """Computes `relu(conv2d(images, filters) + bias)` with stride 1.

    Args:
        images: float32 or bfloat16 [batch, height, width, channels].
        filters: of the same dtype, [kernel height, kernel width, channels, a multiple of 16].
        bias: of the same dtype, [filters].
        relu: whether to apply relu.
        same: whether padding is "same" (the outputs have the images' height and width), else "valid".
    """
    run, threads, options = operations(), current_settings().native_threads, {"relu": relu, "same": same}

    @tf.custom_gradient
    def forward(images: tf.Tensor, filters: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        outputs = run.tfloop_convolution(images=images, filters=filters, bias=bias, threads=threads, **options)

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            # The images' gradient is TensorFlow's. A first layer does not use it, and the graph omits it.
            images_gradient = _images_gradient(images, filters, outputs, upstream, **options)
            return [images_gradient, *backward(images, filters, outputs, upstream)]

        @_with_gradient_of(lambda *tensors: _filters_gradient(*tensors, **options))
        def backward(images: tf.Tensor, filters: tf.Tensor, outputs: tf.Tensor, upstream: tf.Tensor) -> list[tf.Tensor]:
            gradients = run.tfloop_convolution_gradient(
                images=images, filters=filters, outputs=outputs, upstream=upstream, threads=threads, **options
            )
            return _with_shapes(list(gradients), [filters.shape, bias.shape])

        margin = (0, 0) if same else (filters.shape[0] - 1, filters.shape[1] - 1)
        sides = [None if side is None else side - less for side, less in zip(images.shape[1:3], margin, strict=True)]
        outputs.set_shape([images.shape[0], *sides, filters.shape[3]])
        return outputs, gradient

    return forward(images, filters, bias)


def updates_adam(variable: tf.Variable) -> bool:
    """Whether the current settings compute the update of a variable by `adam`.

    The operation writes new buffers, so variables above 16 MiB would raise the peak of memory.
    """
    small = variable.shape.num_elements() <= MAX_ADAM_SIZE
    return current_settings().native_threads > 0 and variable.dtype == tf.float32 and small


def adam(
    variable: tf.Variable,
    slots: Sequence[tf.Variable],
    gradient: tf.Tensor,
    rate: tf.Tensor,
    constants: dict[str, float],
) -> None:
    """Updates a variable and its two moments as `keras.optimizers.Adam` does, within rounding.

    Args:
        variable: float32, of any shape.
        slots: the first and the second moment, of the same shape.
        gradient: of the same shape.
        rate: float32 [], the learning rate, corrected for the bias of both moments.
        constants: `first` and `second`, which are 1 - beta_1 and 1 - beta_2, and `epsilon`.
    """
    momentum, velocity = slots
    updated = operations().tfloop_adam(
        rate=rate, gradient=gradient, variable=variable, momentum=momentum, velocity=velocity,
        threads=current_settings().native_threads, **constants,
    )  # fmt: skip
    for target, value in zip((variable, *slots), _with_shapes(list(updated), [variable.shape] * 3), strict=True):
        target.assign(value)


@cache
def operations() -> Any:
    """Returns a module with a function per operation."""
    return tf.load_op_library(str(LIBRARY))


@cache
def dtypes() -> tuple[str, ...]:
    """Returns the types that the operations of layers support on this processor."""
    return ("float32", "bfloat16") if "avx512_bf16" in hardware.cpu()[1] else ("float32",)


def _with_shapes(tensors: list[tf.Tensor], shapes: list[tf.TensorShape]) -> list[tf.Tensor]:
    for tensor, shape in zip(tensors, shapes, strict=True):
        tensor.set_shape(shape)
    return tensors


def _with_gradient_of(
    reference: Callable[..., list[tf.Tensor]],
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a function the gradient of another one that computes the same: for second derivatives."""

    def decorate(function: Callable[..., list[tf.Tensor]]) -> Callable[..., Any]:
        @tf.custom_gradient
        def decorated(*tensors: tf.Tensor) -> tuple[list[tf.Tensor], Callable[..., Any]]:
            def gradient(*upstream: tf.Tensor) -> list[tf.Tensor | None]:
                with tf.GradientTape() as tape:
                    tape.watch(tensors)
                    results = reference(*tensors)
                return tape.gradient(results, tensors, output_gradients=list(upstream))

            return function(*tensors), gradient

        return decorated

    return decorate


def _dense_gradient(inputs: tf.Tensor, weights: tf.Tensor, upstream: tf.Tensor) -> list[tf.Tensor]:
    weights_gradient = tf.matmul(inputs, upstream, transpose_a=True)
    return [tf.matmul(upstream, weights, transpose_b=True), weights_gradient, tf.reduce_sum(upstream, axis=0)]


def _images_gradient(
    images: tf.Tensor, filters: tf.Tensor, outputs: tf.Tensor, upstream: tf.Tensor, **options: bool
) -> tf.Tensor:
    upstream, geometry = _relu_mask(outputs, upstream, **options)
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(images), filter=filters, out_backprop=upstream, **geometry
    )


def _filters_gradient(
    images: tf.Tensor, filters: tf.Tensor, outputs: tf.Tensor, upstream: tf.Tensor, **options: bool
) -> list[tf.Tensor]:
    upstream, geometry = _relu_mask(outputs, upstream, **options)
    filters_gradient = tf.raw_ops.Conv2DBackpropFilter(
        input=images, filter_sizes=tf.shape(filters), out_backprop=upstream, **geometry
    )
    return [filters_gradient, tf.reduce_sum(upstream, axis=[0, 1, 2])]


def _relu_mask(outputs: tf.Tensor, upstream: tf.Tensor, *, relu: bool, same: bool) -> tuple[tf.Tensor, dict[str, Any]]:
    """Returns the gradient before relu, and the stride and padding of the convolution."""
    upstream = tf.where(outputs > 0, upstream, tf.zeros_like(upstream)) if relu else upstream
    return upstream, {"strides": [1, 1, 1, 1], "padding": "SAME" if same else "VALID"}
