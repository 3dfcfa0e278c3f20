"""A generator and a discriminator of images."""

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.models.images import require_image
from tfloop_cli.errors import TfloopError
from tfloop_cli.fields import PositiveInt, Rate
from tfloop_cli.registry import models


@models.register("dcgan")
def dcgan(
    spec: DataSpec, *, latent: PositiveInt = 64, width: PositiveInt = 32, dropout: Rate = 0.3
) -> dict[str, keras.Model]:
    """DCGAN (Radford et al. 2015, arXiv:1511.06434): two models that train against each other; for the task `gan`.

    Args:
        spec: shape of the data: images whose sides are multiples of four.
        latent: how many random numbers the generator starts from.
        width: filters of the layers next to the image; the inner ones have twice and four times as many.
        dropout: share of the discriminator's features that a training step drops.
    """
    require_image(spec, "dcgan")
    height, breadth, channels = spec.input_shape
    if height % 4 or breadth % 4:
        raise TfloopError(f"model `dcgan` needs images whose sides are multiples of 4; these are {height}x{breadth}")
    layers = keras.layers

    def up(filters: int) -> list[keras.Layer]:
        transposed = layers.Conv2DTranspose(filters, 4, 2, padding="same", use_bias=False)
        return [transposed, layers.BatchNormalization(), layers.ReLU()]

    def down(filters: int) -> list[keras.Layer]:
        return [layers.Conv2D(filters, 4, 2, padding="same"), layers.LeakyReLU(0.2), layers.Dropout(dropout)]

    generator = keras.Sequential(
        [
            keras.Input((latent,)),
            layers.Dense(height // 4 * (breadth // 4) * width * 4, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Reshape((height // 4, breadth // 4, width * 4)),
            *up(width * 2),
            *up(width),
            layers.Conv2D(channels, 3, padding="same", activation="sigmoid"),  # pixels in [0, 1], as the data has them
        ],
        name="generator",
    )
    discriminator = keras.Sequential(
        [keras.Input(spec.input_shape), *down(width), *down(width * 2), layers.Flatten(), layers.Dense(1)],
        name="discriminator",
    )
    return {"generator": generator, "discriminator": discriminator}
