"""Vision transformers for small images."""

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.models.images import require_image
from tfloop_cli.errors import TfloopError
from tfloop_cli.fields import PositiveInt, Rate
from tfloop_cli.registry import models


@models.register("vit")
def vit(
    spec: DataSpec,
    *,
    patch_size: PositiveInt = 4,
    width: PositiveInt = 64,
    depth: PositiveInt = 4,
    heads: PositiveInt = 4,
    dropout: Rate = 0.0,
) -> keras.Model:
    """A vision transformer (Dosovitskiy et al. 2020, arXiv:2010.11929), pre-norm, with mean pooling and no class token.

    Args:
        spec: shape of the data: images whose sides are multiples of `patch_size`.
        patch_size: side of a patch, in pixels.
        width: numbers that stand for a patch; a multiple of `heads`. The dense layers between have four times as many.
        depth: transformer blocks.
        heads: of each attention.
        dropout: share of each block's outputs that a training step drops.
    """
    require_image(spec, "vit")
    height, breadth, _ = spec.input_shape
    if height % patch_size or breadth % patch_size:
        raise TfloopError(f"`model.patch_size` {patch_size} does not divide the images' sides, {height}x{breadth}")
    if width % heads:
        raise TfloopError(f"`model.width` must be a multiple of `model.heads`; found {width} and {heads}")
    patches = (height // patch_size) * (breadth // patch_size)
    inputs = keras.Input(spec.input_shape)
    x = keras.layers.Conv2D(width, patch_size, patch_size)(inputs)  # a patch is a place without overlap
    x = keras.layers.Reshape((patches, width))(x)
    x = Position()(x)
    for _ in range(depth):
        x = _block(x, width, heads, dropout)
    x = keras.layers.LayerNormalization(epsilon=1e-6)(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(spec.outputs)(x), name="vit")


class Position(keras.layers.Layer):
    """Adds a learned vector to each place of a sequence: float [batch, places, width] -> the same shape."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.embedding = self.add_weight(
            shape=input_shape[1:], initializer=keras.initializers.RandomNormal(stddev=0.02), name="position"
        )

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return inputs + self.embedding


def _block(x: keras.KerasTensor, width: int, heads: int, dropout: float) -> keras.KerasTensor:
    """Attention, then two dense layers, each normalised before and added to what came in."""
    y = keras.layers.LayerNormalization(epsilon=1e-6)(x)
    y = keras.layers.MultiHeadAttention(heads, width // heads)(y, y)
    x = keras.layers.Add()([x, _dropped(y, dropout)])
    y = keras.layers.LayerNormalization(epsilon=1e-6)(x)
    y = keras.layers.Dense(4 * width, activation="gelu")(y)
    y = keras.layers.Dense(width)(y)
    return keras.layers.Add()([x, _dropped(y, dropout)])


def _dropped(x: keras.KerasTensor, dropout: float) -> keras.KerasTensor:
    return keras.layers.Dropout(dropout)(x) if dropout else x
