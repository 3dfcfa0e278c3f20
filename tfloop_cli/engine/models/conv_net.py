"""Plain convolutional nets."""

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.models.images import require_image
from tfloop_cli.errors import TfloopError
from tfloop_cli.fields import NonNegativeInt, PositiveInt, Rate
from tfloop_cli.registry import models


@models.register("conv_net")
def conv_net(
    spec: DataSpec,
    *,
    filters: list[PositiveInt] = [32],
    kernel_size: PositiveInt = 3,
    pool_every: NonNegativeInt = 0,
    batch_norm: bool = False,
    hidden: list[PositiveInt] = [],
    dropout: Rate = 0.0,
) -> keras.Model:
    """Convolutions, then one dense layer: by default the tutorial's net.

    Args:
        spec: shape of the data: images.
        filters: how many filters each convolution has.
        kernel_size: side of each filter, in pixels.
        pool_every: after how many convolutions to halve the image's sides; 0 for never. With it the convolutions
            keep the sides; without it each takes `kernel_size` - 1 pixels off.
        batch_norm: whether to normalise between each convolution and its relu.
        hidden: widths of dense layers before the last one.
        dropout: share of the features that a training step drops before each dense layer.
    """
    require_image(spec, "conv_net")
    require_room(min(spec.input_shape[:2]), len(filters), kernel_size, pool_every)
    layers = [keras.Input(spec.input_shape)]
    for number, width in enumerate(filters, start=1):
        padding = "same" if pool_every else "valid"
        if batch_norm:
            layers.append(keras.layers.Conv2D(width, kernel_size, padding=padding, use_bias=False))
            layers.append(keras.layers.BatchNormalization())
            layers.append(keras.layers.ReLU())
        else:
            layers.append(keras.layers.Conv2D(width, kernel_size, padding=padding, activation="relu"))
        if pool_every and number % pool_every == 0:
            layers.append(keras.layers.MaxPooling2D())
    layers.append(keras.layers.Flatten())
    for width in hidden:
        layers += [keras.layers.Dropout(dropout)] if dropout else []
        layers.append(keras.layers.Dense(width, activation="relu"))
    layers += [keras.layers.Dropout(dropout)] if dropout else []
    return keras.Sequential([*layers, keras.layers.Dense(spec.outputs)], name="conv_net")


def require_room(side: int, convolutions: int, kernel_size: int, pool_every: int) -> None:
    """Raises TfloopError unless an image of that side, in pixels, is large enough for every layer."""
    left = side >> (convolutions // pool_every) if pool_every else side - convolutions * (kernel_size - 1)
    if left < 1:
        raise TfloopError(
            f"model `conv_net`: {convolutions} convolutions leave nothing of images with a side of {side} pixels",
            hint="give it fewer `filters`, a smaller `kernel_size`, or a larger `pool_every` (0 for no pooling)",
        )
