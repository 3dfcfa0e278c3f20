"""Random changes to training images, drawn anew for each step and example.

Each builder returns a function of a batch of images, float [batch, height, width, channels] in [0, 1], and a seed,
int32 [2], that only the run's seed and the step decide: so a step that is done again sees the same images.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from tfloop_cli.fields import Fraction, NonNegativeFloat, NonNegativeInt
from tfloop_cli.registry import augmentations

Augmentation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@augmentations.register("flip")
def flip() -> Augmentation:
    """Mirrors half of the images left to right."""

    def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        coin = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed)
        return tf.where(coin < 0.5, tf.reverse(images, [2]), images)

    return augment


@augmentations.register("shift")
def shift(*, pixels: NonNegativeInt = 2) -> Augmentation:
    """Moves each image by whole pixels in both directions; what comes in from outside is black.

    Args:
        pixels: the farthest move.
    """

    def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        moves = tf.random.stateless_uniform([tf.shape(images)[0], 2], seed, -pixels, pixels + 1, tf.int32)
        return _project(images, 1.0, 0.0, tf.cast(moves, tf.float32), "NEAREST")

    return augment


@augmentations.register("affine")
def affine(*, degrees: NonNegativeFloat = 10.0, zoom: Fraction = 0.1, shift: Fraction = 0.1) -> Augmentation:
    """Turns, zooms and moves each image around its middle, with bilinear interpolation; black comes in from outside.

    Args:
        degrees: the farthest turn, either way.
        zoom: the largest change of size, as a fraction of the image.
        shift: the farthest move, as a fraction of the image's side.
    """

    def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        batch, side = tf.shape(images)[0], tf.cast(tf.shape(images)[1:3], tf.float32)
        random = tf.random.stateless_uniform([batch, 4], seed, -1.0, 1.0)
        angle = random[:, 0] * math.radians(degrees)
        scale = 1.0 + random[:, 1] * zoom
        return _project(images, scale, angle, random[:, 2:] * shift * side, "BILINEAR")

    return augment


def _project(
    images: tf.Tensor, scale: tf.Tensor | float, angle: tf.Tensor | float, moves: tf.Tensor, interpolation: str
) -> tf.Tensor:
    """Turns by `angle` (radians) and scales around the middle, then moves by `moves`, pixels [batch, 2] (y, x)."""
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    middle_y, middle_x = tf.cast(height - 1, tf.float32) / 2, tf.cast(width - 1, tf.float32) / 2
    dy, dx = moves[:, 0], moves[:, 1]
    cosine, sine = tf.cos(angle) * scale + 0 * dx, tf.sin(angle) * scale + 0 * dx  # [batch]
    zero = tf.zeros_like(dx)
    rows = [
        cosine, -sine, middle_x - cosine * (middle_x + dx) + sine * (middle_y + dy),
        sine, cosine, middle_y - sine * (middle_x + dx) - cosine * (middle_y + dy),
        zero, zero,
    ]  # fmt: skip
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack(rows, axis=1),  # [batch, 8]: where each output pixel comes from
        output_shape=tf.stack([height, width]),
        interpolation=interpolation,
        fill_mode="CONSTANT",
        fill_value=0.0,
    )
