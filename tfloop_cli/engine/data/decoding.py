"""Pixels out of image files, and what is wrong with a file that gives none."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfloop_cli.errors import ExitCode, Problem, TfloopError

DECODER = 1  # to be raised when `Decoder` gives other pixels
DECODED_AT_ONCE = 64  # images; as much is held besides what is asked for


class Decoder:
    """Makes pixels of a file.

    Args:
        shape: of the pixels: height, width, channels.
        resize: whether to bring images to that height and width; else another one is an error.

    Attributes:
        version: tells apart decoders that make different pixels of one file.
    """

    def __init__(self, shape: tuple[int, int, int], resize: bool) -> None:
        self.shape, self._resize = shape, resize
        self.version = (DECODER, tf.__version__, shape, resize)

    def decode(self, path: tf.Tensor) -> tf.Tensor:
        """For use in a graph: string [] -> uint8 [height, width, channels]."""
        pixels = tf.io.decode_image(tf.io.read_file(path), self.shape[2], expand_animations=False)
        if self._resize:
            resized = tf.image.resize(pixels, self.shape[:2], antialias=True)
            pixels = tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
        return tf.ensure_shape(pixels, self.shape)

    def blocks(self, paths: Sequence[str]) -> Iterator[np.ndarray]:
        """The images in order, some at a time: uint8 [some, height, width, channels].

        Raises:
            TfloopError: one cannot be decoded, or is of another size (exit code 4).
        """
        decoded = tf.data.Dataset.from_tensor_slices(list(paths)).map(self.decode, tf.data.AUTOTUNE, deterministic=True)
        done = 0
        try:
            for block in decoded.batch(DECODED_AT_ONCE).as_numpy_iterator():
                yield block
                done += len(block)
        except tf.errors.OpError as error:
            raise self.failure(paths[done:]) or error from error

    def good(self, paths: Sequence[str]) -> Iterator[np.ndarray]:
        """Which images can be decoded, in order, some at a time: uint8 [some], 1 or 0.

        Raises:
            TfloopError: one cannot be read, which says nothing of what it holds (exit code 4).
        """
        done = 0
        while done < len(paths):
            try:
                for block in self.blocks(paths[done:]):
                    yield np.ones(len(block), np.uint8)
                    done += len(block)
            except TfloopError:
                some = paths[done : done + DECODED_AT_ONCE]
                yield np.array([self._is_good(path) for path in some], np.uint8)
                done += len(some)

    def _is_good(self, path: str) -> bool:
        try:
            self.decode(tf.constant(path))
        except tf.errors.InvalidArgumentError:
            return False
        except tf.errors.OpError as error:
            raise self.failure([path]) or error from error
        return True

    def failure(self, paths: Sequence[str]) -> TfloopError | None:
        """What is wrong with the first bad one among some files."""
        for path in paths:
            try:
                self.decode(tf.constant(path))
            except tf.errors.OpError as error:
                return unusable(path, re.sub(r"\{\{.*?\}\}|\[Op:.*", "", error.message).strip())
        return None


def unusable(path: str, reason: str) -> TfloopError:
    """What is wrong with an image (exit code 4)."""
    hint = "take it away, or `--set on_bad_example=skip`; if it is only of another size: `--set dataset.size=[H,W]`"
    return TfloopError(problems=[Problem(f"this image cannot be used: {reason}", path, hint=hint)], code=ExitCode.DATA)
