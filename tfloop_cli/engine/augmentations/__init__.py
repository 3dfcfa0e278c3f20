"""Random augmentations of training images, one file each.

A builder returns a function of a batch of images, float [batch, height, width, channels] in [0, 1], and a seed,
int32 [2], which depends only on the run's seed and the step. So a repeated step sees the same images.
"""

from collections.abc import Callable

import tensorflow as tf

Augmentation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
