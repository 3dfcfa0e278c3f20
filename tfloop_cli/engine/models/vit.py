"""Vision transformers for small images."""

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.models.requirements import require_image
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import models
from tfloop_cli.registry.argument_types import Depth, FractionBelowOne, PositiveInt


@models.register("vit")
def vit(
    spec: DataSpec,
    *,
    patch_size: PositiveInt = 4,
    width: PositiveInt = 64,
    depth: Depth = 4,
    heads: PositiveInt = 4,
    dropout: FractionBelowOne = 0.0,
) -> keras.Model:
    """A vision transformer (Dosovitskiy et al. 2020, arXiv:2010.11929), pre-norm, with mean pooling and no class token.

    Args:
        spec: shape of the data: images with height and width divisible by `patch_size`.
        patch_size: height and width of a patch, in pixels.
        width: dimension of the patch embeddings, a multiple of `heads`; the MLP layers have four times as many units.
        depth: number of transformer blocks.
        heads: number of attention heads.
        dropout: dropout rate of the attention and MLP outputs.
    """
    require_image(spec, "vit")
    height, image_width, _ = spec.input_shape
    if height % patch_size or image_width % patch_size:
        raise TfloopError(f"`model.patch_size` {patch_size} does not divide the image size, {height}x{image_width}")
    if width % heads:
        raise TfloopError(f"`model.width` must be a multiple of `model.heads`; found {width} and {heads}")
    patches = (height // patch_size) * (image_width // patch_size)
    inputs = keras.Input(spec.input_shape)
    x = keras.layers.Conv2D(width, patch_size, patch_size)(inputs)  # non-overlapping patches
    x = keras.layers.Reshape((patches, width))(x)
    x = Position()(x)
    for _ in range(depth):
        x = _block(x, width, heads, dropout)
    x = keras.layers.LayerNormalization(epsilon=1e-6)(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(spec.outputs)(x), name="vit")


@keras.saving.register_keras_serializable("tfloop")
class Position(keras.layers.Layer):
    """Adds learned position embeddings: float [batch, positions, width] -> the same shape."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.embedding = self.add_weight(
            shape=input_shape[1:], initializer=keras.initializers.RandomNormal(stddev=0.02), name="position"
        )

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return inputs + self.embedding


def _block(x: keras.KerasTensor, width: int, heads: int, dropout: float) -> keras.KerasTensor:
    """A pre-norm transformer block: attention and MLP, each with a residual connection."""
    y = keras.layers.LayerNormalization(epsilon=1e-6)(x)
    y = keras.layers.MultiHeadAttention(heads, width // heads)(y, y)
    x = keras.layers.Add()([x, _dropped(y, dropout)])
    y = keras.layers.LayerNormalization(epsilon=1e-6)(x)
    y = keras.layers.Dense(4 * width, activation="gelu")(y)
    y = keras.layers.Dense(width)(y)
    return keras.layers.Add()([x, _dropped(y, dropout)])


def _dropped(x: keras.KerasTensor, dropout: float) -> keras.KerasTensor:
    return keras.layers.Dropout(dropout)(x) if dropout else x
