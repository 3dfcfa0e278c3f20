"""Convolutional neural networks."""

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.models.requirements import require_image
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import models
from tfloop_cli.registry.argument_types import FractionBelowOne, NonNegativeInt, PositiveInt


@models.register("conv_net")
def conv_net(
    spec: DataSpec,
    *,
    filters: list[PositiveInt] = [32],
    kernel_size: PositiveInt = 3,
    pool_every: NonNegativeInt = 0,
    batch_norm: bool = False,
    batch_norm_momentum: FractionBelowOne = 0.9,
    hidden: list[PositiveInt] = [],
    dropout: FractionBelowOne = 0.0,
) -> keras.Model:
    """A CNN: convolutions, then one dense layer. By default a small one: Conv2D 32, Flatten, Dense.

    Args:
        spec: shape of the data: images.
        filters: number of filters of each convolution.
        kernel_size: height and width of the kernels, in pixels.
        pool_every: number of convolutions between max pooling layers; 0 for no pooling. With pooling the convolutions
            have "same" padding, without it "valid", which removes `kernel_size` - 1 pixels of height and of width.
        batch_norm: whether to add batch normalization between each convolution and its relu.
        batch_norm_momentum: the fraction of its moving statistics that batch normalization keeps per step: 0.9 as in
            PyTorch, where it is called `momentum=0.1`; Keras' default, 0.99, needs hundreds of steps.
        hidden: units of the dense layers before the last one.
        dropout: dropout rate before each dense layer.
    """
    require_image(spec, "conv_net")
    check_minimum_size(min(spec.input_shape[:2]), len(filters), kernel_size, pool_every)
    layers = [keras.Input(spec.input_shape)]
    for number, width in enumerate(filters, start=1):
        padding = "same" if pool_every else "valid"
        if batch_norm:
            layers.append(keras.layers.Conv2D(width, kernel_size, padding=padding, use_bias=False))
            layers.append(keras.layers.BatchNormalization(momentum=batch_norm_momentum))
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


def check_minimum_size(side: int, convolutions: int, kernel_size: int, pool_every: int) -> None:
    """Raises TfloopError unless an image of that height or width, in pixels, is large enough for all layers."""
    left = side >> (convolutions // pool_every) if pool_every else side - convolutions * (kernel_size - 1)
    if left < 1:
        raise TfloopError(
            f"model `conv_net`: images with a side of {side} pixels are too small for {convolutions} convolution(s)",
            hint="use fewer `filters`, a smaller `kernel_size`, or a larger `pool_every` (0 for no pooling)",
        )
