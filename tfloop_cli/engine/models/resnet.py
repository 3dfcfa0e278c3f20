"""Residual networks for small images."""

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.models.requirements import require_image
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import models
from tfloop_cli.registry.argument_types import Depth, PositiveInt


@models.register("resnet")
def resnet(spec: DataSpec, *, depth: Depth = 20, width: PositiveInt = 16) -> keras.Model:
    """The CIFAR ResNet of He et al. 2015 (arXiv:1512.03385, section 4.2): three stages of basic blocks.

    Args:
        spec: shape of the data: images.
        depth: number of layers with weights, 6n + 2: 8, 14, 20, 32, 44, 56, 110.
        width: filters of the first stage; each later stage has twice as many.
    """
    require_image(spec, "resnet")
    blocks, rest = divmod(depth - 2, 6)
    if rest or not blocks:
        near = 6 * max(1, round((depth - 2) / 6)) + 2
        raise TfloopError(f"`model.depth` of resnet must be 6n + 2; found {depth}", hint=f"did you mean {near}?")
    inputs = keras.Input(spec.input_shape)
    x = _conv_norm(inputs, width, 1)
    x = keras.layers.ReLU()(x)
    for stage in range(3):
        for block in range(blocks):
            x = _block(x, width * 2**stage, stride=2 if stage and not block else 1)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(spec.outputs)(x), name=f"resnet{depth}")


def _block(x: keras.KerasTensor, width: int, stride: int) -> keras.KerasTensor:
    """Computes relu(x + F(x)). If the shape changes, the shortcut is a 1x1 convolution (option B of the paper)."""
    y = keras.layers.ReLU()(_conv_norm(x, width, stride))
    y = _conv_norm(y, width, 1)
    if stride != 1 or x.shape[-1] != width:
        x = _conv_norm(x, width, stride, kernel_size=1)
    return keras.layers.ReLU()(keras.layers.Add()([x, y]))


def _conv_norm(x: keras.KerasTensor, width: int, stride: int, kernel_size: int = 3) -> keras.KerasTensor:
    x = keras.layers.Conv2D(width, kernel_size, stride, padding="same", use_bias=False, kernel_initializer="he_normal")(
        x
    )
    return keras.layers.BatchNormalization()(x)
