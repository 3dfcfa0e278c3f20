"""Random translation by whole pixels."""

import tensorflow as tf

from tfloop_cli.engine.augmentations import Augmentation
from tfloop_cli.engine.augmentations.affine import transform
from tfloop_cli.registry import augmentations
from tfloop_cli.registry.argument_types import NonNegativeInt


@augmentations.register("shift")
def shift(*, pixels: NonNegativeInt = 2) -> Augmentation:
    """Random translation by whole pixels in both directions, with zero fill.

    Args:
        pixels: the largest translation, in pixels.
    """

    def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        offsets = tf.random.stateless_uniform([tf.shape(images)[0], 2], seed, -pixels, pixels + 1, tf.int32)
        return transform(images, 1.0, 0.0, tf.cast(offsets, tf.float32), "NEAREST")

    return augment
