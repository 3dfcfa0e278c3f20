"""DCGAN: a generator and a discriminator of images."""

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.models.requirements import require_image
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import models
from tfloop_cli.registry.argument_types import FractionBelowOne, PositiveInt


@models.register("dcgan")
def dcgan(
    spec: DataSpec,
    *,
    latent: PositiveInt = 64,
    width: PositiveInt = 32,
    dropout: FractionBelowOne = 0.3,
    batch_norm_momentum: FractionBelowOne = 0.9,
) -> dict[str, keras.Model]:
    """DCGAN (Radford et al. 2015, arXiv:1511.06434): a generator and a discriminator, for the task `gan`.

    Args:
        spec: shape of the data: images with height and width divisible by 4.
        latent: dimension of the generator's input noise.
        width: filters of the layers next to the image; the inner layers have twice and four times as many.
        dropout: dropout rate of the discriminator.
        batch_norm_momentum: the fraction of its moving statistics that the generator's batch normalization keeps per
            step: 0.9 as in the reference implementation, as `momentum=0.1` in Torch; Keras' default is 0.99.
    """
    require_image(spec, "dcgan")
    height, image_width, channels = spec.input_shape
    if height % 4 or image_width % 4:
        raise TfloopError(f"model `dcgan` needs height and width divisible by 4; the images are {height}x{image_width}")
    layers = keras.layers

    def upsample(filters: int) -> list[keras.Layer]:
        transposed = layers.Conv2DTranspose(filters, 4, 2, padding="same", use_bias=False)
        return [transposed, layers.BatchNormalization(momentum=batch_norm_momentum), layers.ReLU()]

    def downsample(filters: int) -> list[keras.Layer]:
        return [layers.Conv2D(filters, 4, 2, padding="same"), layers.LeakyReLU(0.2), layers.Dropout(dropout)]

    generator = keras.Sequential(
        [
            keras.Input((latent,)),
            layers.Dense(height // 4 * (image_width // 4) * width * 4, use_bias=False),
            layers.BatchNormalization(momentum=batch_norm_momentum),
            layers.ReLU(),
            layers.Reshape((height // 4, image_width // 4, width * 4)),
            *upsample(width * 2),
            *upsample(width),
            layers.Conv2D(channels, 3, padding="same", activation="sigmoid"),  # pixels in [0, 1], like the data
        ],
        name="generator",
    )
    discriminator = keras.Sequential(
        [keras.Input(spec.input_shape), *downsample(width), *downsample(width * 2), layers.Flatten(), layers.Dense(1)],
        name="discriminator",
    )
    return {"generator": generator, "discriminator": discriminator}
