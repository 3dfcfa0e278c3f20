"""Decodes image files, and explains why a file cannot be decoded."""

import os
import re
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfloop_cli.errors import ExitCode, Problem, TfloopError

DECODER_VERSION = 1  # to be increased when `Decoder` returns other pixels
DECODED_AT_ONCE = 64  # images


class Decoder:
    """Decodes files to arrays of one shape.

    Args:
        shape: of the pixels: height, width, channels.
        resize: whether to resize images to that height and width; otherwise another size is an error.

    Attributes:
        version: identifies decoders that return different pixels for one file.
    """

    def __init__(self, shape: tuple[int, int, int], resize: bool) -> None:
        self.shape, self._resize = shape, resize
        self.version = (DECODER_VERSION, tf.__version__, shape, resize)

    def decode(self, path: tf.Tensor) -> tf.Tensor:
        """Decodes a file, also in a graph: string [] -> uint8 [height, width, channels]."""
        pixels = tf.io.decode_image(tf.io.read_file(path), self.shape[2], expand_animations=False)
        if self._resize:
            resized = tf.image.resize(pixels, self.shape[:2], antialias=True)
            pixels = tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
        return tf.ensure_shape(pixels, self.shape)

    def blocks(self, paths: Sequence[str]) -> Iterator[np.ndarray]:
        """Yields the images in order, several at a time: uint8 [n, height, width, channels].

        Raises:
            TfloopError: an image cannot be decoded, or has another size (exit code 4).
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
        except tf.errors.InvalidArgumentError:
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
                return invalid_image(path, re.sub(r"\{\{.*?\}\}|\[Op:.*", "", error.message).strip())
        return None


def encoded(paths: Sequence[str]) -> list[bytes]:
    """Returns paths for TensorFlow, which does not accept the text of a name that is not UTF-8."""
    return [os.fsencode(path) for path in paths]


def invalid_image(path: str, reason: str) -> TfloopError:
    """Returns the error for an image that cannot be used (exit code 4)."""
    hint = (
        "remove the file, or use `--set on_bad_example=skip`; "
        "if only its size differs, resize all images with `--set dataset.size=[H,W]`"
    )
    return TfloopError(problems=[Problem(f"this image cannot be used: {reason}", path, hint=hint)], code=ExitCode.DATA)
