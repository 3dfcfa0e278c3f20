"""Random affine transformations."""

import math
from typing import Literal

import tensorflow as tf

from tfloop_cli.engine.augmentations import Augmentation
from tfloop_cli.registry import augmentations
from tfloop_cli.registry.argument_types import Fraction, NonNegativeFloat, Probability


@augmentations.register("affine")
def affine(
    *,
    degrees: NonNegativeFloat = 10.0,
    zoom: Fraction = 0.1,
    shift: Fraction = 0.1,
    fill: Literal["zero", "nearest", "reflect"] = "zero",
    probability: Probability = 1.0,
) -> Augmentation:
    """Random rotation, zoom and translation around the center, with bilinear interpolation.

    Args:
        degrees: the largest rotation in either direction, in degrees.
        zoom: the largest change of scale, as a fraction of the image.
        shift: the largest translation, as a fraction of the image's height or width.
        fill: what comes in from outside of the image: zeros (black), the nearest pixel of its border, or its mirror
            image.
        probability: of each image to be changed. Below 1, the model also sees images as they are, so that it can learn
            classes that differ in size, angle or place.
    """
    mode = {"zero": "CONSTANT", "nearest": "NEAREST", "reflect": "REFLECT"}[fill]

    def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        batch, size = tf.shape(images)[0], tf.cast(tf.shape(images)[1:3], tf.float32)
        random = tf.random.stateless_uniform([batch, 4], seed, -1.0, 1.0)
        if probability < 1:
            seed = tf.random.experimental.stateless_fold_in(seed, 1)
            random *= tf.cast(tf.random.stateless_uniform([batch, 1], seed) < probability, tf.float32)
        angle = random[:, 0] * math.radians(degrees)
        scale = 1.0 + random[:, 1] * zoom
        return transform(images, scale, angle, random[:, 2:] * shift * size, "BILINEAR", mode)

    return augment


def transform(
    images: tf.Tensor,
    scale: tf.Tensor | float,
    angle: tf.Tensor | float,
    offsets: tf.Tensor,
    interpolation: str,
    fill_mode: str = "CONSTANT",
) -> tf.Tensor:
    """Rotates and scales around the center, then translates.

    Args:
        images: float [batch, height, width, channels].
        scale: [batch] or a number.
        angle: in radians, [batch] or a number.
        offsets: translation in pixels, float [batch, 2] (y, x).
        interpolation: "NEAREST" or "BILINEAR".
        fill_mode: "CONSTANT" (zeros), "NEAREST" or "REFLECT".
    """
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    center_y, center_x = tf.cast(height - 1, tf.float32) / 2, tf.cast(width - 1, tf.float32) / 2
    dy, dx = offsets[:, 0], offsets[:, 1]
    cosine, sine = tf.cos(angle) * scale + 0 * dx, tf.sin(angle) * scale + 0 * dx  # [batch]
    zero = tf.zeros_like(dx)
    rows = [
        cosine, -sine, center_x - cosine * (center_x + dx) + sine * (center_y + dy),
        sine, cosine, center_y - sine * (center_x + dx) - cosine * (center_y + dy),
        zero, zero,
    ]  # fmt: skip
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack(rows, axis=1),  # [batch, 8]: maps output pixels to input pixels
        output_shape=tf.stack([height, width]),
        interpolation=interpolation,
        fill_mode=fill_mode,
        fill_value=0.0,
    )
