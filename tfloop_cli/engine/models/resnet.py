"""Residual networks for small images."""

from collections.abc import Callable
from functools import partial

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.models.requirements import require_image
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import models
from tfloop_cli.registry.argument_types import Depth, FractionBelowOne, PositiveInt


@models.register("resnet")
def resnet(
    spec: DataSpec, *, depth: Depth = 20, width: PositiveInt = 16, batch_norm_momentum: FractionBelowOne = 0.9
) -> keras.Model:
    """The CIFAR ResNet of He et al. 2015 (arXiv:1512.03385, section 4.2): three stages of basic blocks.

    Args:
        spec: shape of the data: images.
        depth: number of layers with weights, 6n + 2: 8, 14, 20, 32, 44, 56, 110.
        width: filters of the first stage; each later stage has twice as many.
        batch_norm_momentum: the fraction of its moving statistics that batch normalization keeps per step: 0.9 as in
            the reference implementations, as `momentum=0.1` in PyTorch; Keras' default, 0.99, needs hundreds of steps.
    """
    require_image(spec, "resnet")
    blocks, rest = divmod(depth - 2, 6)
    if rest or not blocks:
        near = 6 * max(1, round((depth - 2) / 6)) + 2
        raise TfloopError(f"`model.depth` of resnet must be 6n + 2; found {depth}", hint=f"did you mean {near}?")
    inputs = keras.Input(spec.input_shape)
    conv_norm = partial(_conv_norm, momentum=batch_norm_momentum)
    x = conv_norm(inputs, width, 1)
    x = keras.layers.ReLU()(x)
    for stage in range(3):
        for block in range(blocks):
            x = _block(x, width * 2**stage, stride=2 if stage and not block else 1, conv_norm=conv_norm)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(spec.outputs)(x), name=f"resnet{depth}")


def _block(
    x: keras.KerasTensor, width: int, stride: int, conv_norm: Callable[..., keras.KerasTensor]
) -> keras.KerasTensor:
    """Computes relu(x + F(x)). If the shape changes, the shortcut is a 1x1 convolution (option B of the paper)."""
    y = keras.layers.ReLU()(conv_norm(x, width, stride))
    y = conv_norm(y, width, 1)
    if stride != 1 or x.shape[-1] != width:
        x = conv_norm(x, width, stride, kernel_size=1)
    return keras.layers.ReLU()(keras.layers.Add()([x, y]))


def _conv_norm(
    x: keras.KerasTensor, width: int, stride: int, kernel_size: int = 3, *, momentum: float
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(width, kernel_size, stride, padding="same", use_bias=False, kernel_initializer="he_normal")(
        x
    )
    return keras.layers.BatchNormalization(momentum=momentum)(x)
