"""Random flip."""

import tensorflow as tf

from tfloop_cli.engine.augmentations import Augmentation
from tfloop_cli.registry import augmentations


@augmentations.register("flip")
def flip() -> Augmentation:
    """Random horizontal flip with probability 0.5."""

    def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        uniform = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed)
        return tf.where(uniform < 0.5, tf.reverse(images, [2]), images)

    return augment
