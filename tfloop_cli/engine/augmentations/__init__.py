"""Random augmentations of training images, one file each.

A builder returns a function of a batch of images, float [batch, height, width, channels] in [0, 1], and a seed,
int32 [2], which depends only on the run's seed and the step. So a repeated step sees the same images.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

Augmentation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Mixing:
    """An augmentation that mixes examples of a batch, and so their targets: MixUp, CutMix.

    Attributes:
        mix: a function of images as above, targets and a seed; it returns images and targets of the same shapes. The
            targets are float [batch, numbers], or the probability of each class, float [batch, classes].
    """

    mix: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

    def __call__(self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self.mix(images, targets, seed)
