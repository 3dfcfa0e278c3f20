"""Decodes image files to arrays of one shape, and explains why a file cannot be decoded."""

import os
import re
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.images.formats import describe
from tfloop_cli.engine.data.images.pixels import NEEDS_PILLOW, decode_pixels
from tfloop_cli.engine.data.images.problems import invalid_image
from tfloop_cli.errors import TfloopError

DECODER_VERSION = 2  # to be increased when `Decoder` returns other pixels
DECODED_AT_ONCE = 64  # images
GRAY_LEVELS = {"white": 255, "black": 0, "gray": 128}

Fit = Literal["crop", "pad", "stretch"]
Background = Literal["white", "black", "gray"]


class Decoder:
    """Decodes files to arrays of one shape.

    Images are turned upright by their EXIF orientation, and transparent pixels are composed over the background.

    Args:
        shape: of the pixels: height, width, channels.
        fit: how images of another size are resized. crop: the center that has the aspect ratio; pad: the whole image,
            with borders of the background; stretch: the whole image, with another aspect ratio.
        background: behind transparent pixels and in borders.
        max16: the value of 16-bit images that becomes 255.

    Attributes:
        version: identifies decoders that return different pixels for one file.
    """

    def __init__(
        self, shape: tuple[int, int, int], fit: Fit = "pad", background: Background = "white", max16: int = 65535
    ) -> None:
        self.shape, self._fit, self._gray_level, self._max16 = shape, fit, GRAY_LEVELS[background], max16
        self.version = (DECODER_VERSION, tf.__version__, shape, fit, background, max16)

    def decode(self, path: tf.Tensor) -> tf.Tensor:
        """Decodes a file, also in a graph: string [] -> uint8 [height, width, channels]."""
        content = tf.io.read_file(path)
        pixels = tf.cond(
            tf.numpy_function(self._is_plain, [content], tf.bool),
            lambda: tf.io.decode_image(content, self.shape[2], expand_animations=False),
            lambda: tf.numpy_function(self._pixels, [content], tf.uint8),
        )
        pixels.set_shape([None, None, self.shape[2]])
        height, width = tf.unstack(tf.shape(pixels)[:2])
        fits = tf.logical_and(height == self.shape[0], width == self.shape[1])
        return tf.ensure_shape(tf.cond(fits, lambda: pixels, lambda: self._resize(pixels, height, width)), self.shape)

    def _is_plain(self, content: bytes | np.ndarray) -> np.bool_:
        """Whether TensorFlow's decoder returns the right pixels, or the error for a file that is no image."""
        info = describe(_bytes(content))
        any_channels = info is None or self.shape[2] == 3 or info.format in ("png", "jpeg")
        return np.bool_(info is None or (info.plain and any_channels))

    def _pixels(self, content: bytes | np.ndarray) -> np.ndarray:
        return decode_pixels(_bytes(content), self.shape[2], self._gray_level, self._max16)

    def _resize(self, pixels: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """Resizes with antialiasing: uint8 [height, width, channels] -> uint8 of the shape."""
        target = tf.constant(self.shape[:2])
        sides = tf.stack([height, width])
        ratios = tf.cast(sides, tf.float64) / tf.cast(target, tf.float64)
        inner = target
        if self._fit == "crop":  # the part of the image that is used
            part = tf.cast(tf.round(tf.cast(target, tf.float64) * tf.reduce_min(ratios)), tf.int32)
            part = tf.clip_by_value(part, 1, sides)
            first = (sides - part) // 2
            pixels = pixels[first[0] : first[0] + part[0], first[1] : first[1] + part[1]]
        elif self._fit == "pad":  # the part of the result that is the image
            inner = tf.cast(tf.round(tf.cast(sides, tf.float64) / tf.reduce_max(ratios)), tf.int32)
            inner = tf.clip_by_value(inner, 1, target)
        resized = tf.image.resize(pixels, inner, antialias=True)
        resized = tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
        before = (target - inner) // 2
        borders = tf.stack([before, target - inner - before], axis=1)  # [2, 2]
        return tf.pad(resized, tf.concat([borders, [[0, 0]]], 0), constant_values=self._gray_level)

    def blocks(self, paths: Sequence[str]) -> Iterator[np.ndarray]:
        """Yields the images in order, several at a time: uint8 [n, height, width, channels].

        Raises:
            TfloopError: an image cannot be decoded (exit code 4).
        """
        decoded = tf.data.Dataset.from_tensor_slices(encoded(paths)).map(
            self.decode, tf.data.AUTOTUNE, deterministic=True
        )
        done = 0
        try:
            for block in decoded.batch(DECODED_AT_ONCE).as_numpy_iterator():
                yield block
                done += len(block)
        except tf.errors.ResourceExhaustedError:
            raise  # the image is valid
        except tf.errors.OpError as error:
            raise self.failure(paths[done:]) or error from error

    def valid(self, paths: Sequence[str]) -> Iterator[np.ndarray]:
        """Yields whether each image can be decoded, in order, several at a time: uint8 [n], 1 or 0.

        Raises:
            TfloopError: a file cannot be read, so its content is unknown (exit code 4).
        """
        done = 0
        while done < len(paths):
            try:
                for block in self.blocks(paths[done:]):
                    yield np.ones(len(block), np.uint8)
                    done += len(block)
            except TfloopError:
                block_paths = paths[done : done + DECODED_AT_ONCE]
                yield np.array([self._is_valid(path) for path in block_paths], np.uint8)
                done += len(block_paths)

    def _is_valid(self, path: str) -> bool:
        try:
            self.decode(tf.constant(os.fsencode(path)))
        except (tf.errors.InvalidArgumentError, ValueError):
            return False
        except tf.errors.OpError as error:
            raise self.failure([path]) or error from error
        return True

    def failure(self, paths: Sequence[str]) -> TfloopError | None:
        """Returns the error of the first invalid file; None if all can be decoded."""
        for path in paths:
            try:
                self.decode(tf.constant(os.fsencode(path)))
            except tf.errors.ResourceExhaustedError:
                raise
            except tf.errors.OpError as error:
                return _explained(path, re.sub(r"\{\{.*?\}\}|\[Op:.*", "", error.message).strip())
            except ValueError as error:
                return _explained(path, str(error))
        return None


def _explained(path: str, message: str) -> TfloopError:
    hint = re.search(rf"; ({NEEDS_PILLOW}.*)", message)
    return invalid_image(path, message.replace(hint[0], "") if hint else message, hint[1] if hint else None)


def _bytes(content: bytes | np.ndarray) -> bytes:
    """Returns what `tf.numpy_function` passes for a string: bytes in a graph, an array outside of one."""
    return content if isinstance(content, bytes) else content.item()


def encoded(paths: Sequence[str]) -> list[bytes]:
    """Returns paths for TensorFlow, which does not accept the text of a name that is not UTF-8."""
    return [os.fsencode(path) for path in paths]
