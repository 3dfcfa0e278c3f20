"""The gradient of the filters of a strided 1x1 convolution, without a fault of TensorFlow's that corrupts memory.

In TensorFlow 2.21 with oneDNN, `Conv2DBackpropFilter` of 1x1 filters and a stride above 1 writes outside of its memory
for some shapes in float32 and bfloat16 (28 x 28, 8 -> 16 channels, batch 9): the process ends with "double free or
corruption" or a segmentation fault, or continues with damaged data. benchmarks/convolution_faults.py searches for such
shapes; other kernels, 3-D and depthwise convolutions, and gradients of inputs had none.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.ops import gen_nn_ops

from tfloop_cli.engine.kernels.patching import Patch


def _filters_gradient(original: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """The same from the pixels that the convolution reads, with stride 1.

    The gradients of `Conv2D` and of `Conv2DBackpropInput` (a transposed convolution) both call this function.
    """

    def gradient(
        input: tf.Tensor,
        filter_sizes: tf.Tensor,
        out_backprop: tf.Tensor,
        strides: list[int],
        padding: Any,
        **options: Any,
    ) -> tf.Tensor:
        nhwc = options.get("data_format", "NHWC") in ("NHWC", b"NHWC")
        pointwise = _static_shape(filter_sizes)[:2] == [1, 1]
        if not pointwise or max(strides) == 1 or padding in ("EXPLICIT", b"EXPLICIT"):
            return original(input, filter_sizes, out_backprop, strides, padding, **options)
        # "same" padding adds nothing: the first pixel of each window is inside.
        read = input[:, :: strides[1], :: strides[2]] if nhwc else input[:, :, :: strides[2], :: strides[3]]
        return original(read, filter_sizes, out_backprop, [1, 1, 1, 1], "VALID", **options)

    return gradient


def find_patches() -> tuple[Patch, ...]:
    """Returns the patch; none if this version of TensorFlow has no such function (the place is private)."""
    name = "conv2d_backprop_filter"
    return (Patch(gen_nn_ops, name, _filters_gradient),) if hasattr(gen_nn_ops, name) else ()


PATCHES = find_patches()


def _static_shape(sizes: tf.Tensor) -> list[int | None]:
    """Returns the shape that a tensor of sizes has when the graph is traced; an empty list if it is unknown."""
    value = tf.get_static_value(sizes)
    if value is None and sizes.op.type == "ShapeN":  # get_static_value does not support it
        value = sizes.op.inputs[sizes.value_index].shape
    return [] if value is None else list(value)
