"""Decodes image files to arrays of one shape with all cores, and explains why a file cannot be decoded."""

import hashlib
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Literal

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.images.contents import open_image
from tfloop_cli.engine.data.images.formats import describe
from tfloop_cli.engine.data.images.pixels import NEEDS_PILLOW, decode_pixels, pillow_version
from tfloop_cli.engine.data.images.problems import UndecodableImageError, invalid_image
from tfloop_cli.errors import TfloopError
from tfloop_cli.hardware import cores

DECODER_VERSION = 3  # to be increased when `Decoder` returns other pixels or hashes
MAX_BLOCK = 64, 16 * 2**20  # images, and bytes of their pixels, that one thread decodes at once
MAX_WAITING = 2 * 2**20  # bytes of decoded images of a thread that wait to be resized together
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
        settings: identifies what the pixels of a file should be.
        version: identifies decoders that return different pixels for one file: another version of a library may.
    """

    def __init__(
        self, shape: tuple[int, int, int], fit: Fit = "pad", background: Background = "white", max16: int = 65535
    ) -> None:
        self.shape, self._fit, self._gray_level, self._max16 = shape, fit, GRAY_LEVELS[background], max16
        self.settings = (DECODER_VERSION, shape, fit, background, max16)
        self.version = (*self.settings, tf.__version__, pillow_version())

    def decode(self, path: str) -> np.ndarray:
        """Returns the pixels of a file: uint8 [height, width, channels].

        Raises:
            UndecodableImageError: its content cannot be decoded (exit code 4).
            TfloopError: it cannot be read, so that its content is unknown (exit code 4).
        """
        return self._resize([self._decode(path)])[0]

    def _decode(self, path: str) -> np.ndarray:
        """Returns the pixels of a file in its own size: uint8 [height, width, channels]; errors as `decode`."""
        try:
            with open_image(path) as file:
                content = file.read()
        except OSError as error:
            raise invalid_image(path, f"it cannot be read: {error.strerror or error}") from error
        try:
            return self._pixels(content)
        except tf.errors.ResourceExhaustedError:
            raise  # the image is valid
        except tf.errors.OpError as error:
            raise _explained(path, re.sub(r"\{\{.*?\}\}|\[Op:.*", "", error.message).strip()) from error
        except ValueError as error:
            raise _explained(path, str(error)) from error

    def _pixels(self, content: bytes) -> np.ndarray:
        """Returns the pixels in the file's own size: uint8 [height, width, channels]."""
        info, channels = describe(content), self.shape[2]
        # TensorFlow's decoder returns the right pixels of plain files, and the error for a file that is no image.
        if info is None or (info.plain and (channels == 3 or info.format in ("png", "jpeg"))):
            return tf.raw_ops.DecodeImage(contents=content, channels=channels, expand_animations=False).numpy()
        return decode_pixels(content, channels, self._gray_level, self._max16)

    def _resize(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Resizes images of one size with antialiasing: uint8 [height, width, channels] -> uint8 [images, *shape].

        One operation, the one of `tf.image.resize`, for all: a call costs as much time as a small image.
        """
        if images[0].shape == self.shape:
            return np.stack(images)
        sides, target = np.array(images[0].shape[:2]), np.array(self.shape[:2])
        ratios, inner = sides / target, target
        if self._fit == "crop":  # the part of the image that is used
            sides = np.clip(np.round(target * ratios.min()).astype(int), 1, sides)
            first = (np.array(images[0].shape[:2]) - sides) // 2
            images = [one[first[0] : first[0] + sides[0], first[1] : first[1] + sides[1]] for one in images]
        elif self._fit == "pad":  # the part of the result that is the image
            inner = np.clip(np.round(sides / ratios.max()).astype(int), 1, target)
        with tf.device("CPU"):
            resized = tf.raw_ops.ScaleAndTranslate(
                images=np.stack(images), size=inner.astype(np.int32),
                scale=inner.astype(np.float32) / sides.astype(np.float32), translation=np.zeros(2, np.float32),
                kernel_type="triangle", antialias=True,
            ).numpy()  # fmt: skip
        result = np.full((len(images), *self.shape), self._gray_level, np.uint8)
        top, left = (target - inner) // 2
        result[:, top : top + inner[0], left : left + inner[1]] = np.clip(np.round(resized), 0, 255)
        return result

    def decode_all(self, paths: Sequence[str]) -> np.ndarray:
        """Returns the pixels of files, which all cores decode: uint8 [files, height, width, channels]. See `decode`."""
        return np.stack(list(self._pool.map(self.decode, paths)))

    def blocks(self, paths: Sequence[str], skip: bool = False) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Decodes files with all cores; yields the images in order, several at a time.

        Args:
            paths: of the files.
            skip: whether a file that cannot be decoded becomes zeros; otherwise it is an error.

        Yields:
            Pixels, uint8 [n, height, width, channels], and a hash of each image, uint64 [n]; 0 if it is invalid.

        Raises:
            TfloopError: a file cannot be read, or not be decoded (exit code 4).
        """
        size = max(1, min(MAX_BLOCK[0], MAX_BLOCK[1] // int(np.prod(self.shape))))
        pending: deque[Future[tuple[np.ndarray, np.ndarray]]] = deque()
        try:
            for first in range(0, len(paths), size):
                pending.append(self._pool.submit(self._block, paths[first : first + size], skip))
                if len(pending) > 2 * cores():
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(cores(), thread_name_prefix="decoder")

    def _block(self, paths: Sequence[str], skip: bool) -> tuple[np.ndarray, np.ndarray]:
        pixels, hashes = np.zeros((len(paths), *self.shape), np.uint8), np.zeros(len(paths), np.uint64)
        waiting: dict[int, np.ndarray] = {}
        for number, path in enumerate(paths):
            try:
                waiting[number] = self._decode(path)
            except UndecodableImageError:
                if not skip:
                    raise
            if sum(one.nbytes for one in waiting.values()) > MAX_WAITING or number == len(paths) - 1:
                for numbers in _by_shape(waiting):
                    pixels[numbers] = self._resize([waiting.pop(one) for one in numbers])
                    hashes[numbers] = [_hash(pixels[one]) for one in numbers]
        return pixels, hashes

    def failure(self, paths: Sequence[str]) -> TfloopError | None:
        """Returns the error of the first invalid file; None if all can be decoded."""
        for path in paths:
            try:
                self.decode(path)
            except TfloopError as error:
                return error
        return None


def _by_shape(images: Mapping[int, np.ndarray]) -> list[list[int]]:
    """Returns the numbers of the images of each shape."""
    found: dict[tuple[int, ...], list[int]] = {}
    for number, image in images.items():
        found.setdefault(image.shape, []).append(number)
    return list(found.values())


def _hash(pixels: np.ndarray) -> int:
    """Returns a hash of an image that is not 0."""
    return int.from_bytes(hashlib.blake2b(pixels, digest_size=8).digest(), "little") or 1


def _explained(path: str, message: str) -> TfloopError:
    hint = re.search(rf"; ({NEEDS_PILLOW}.*)", message)
    reason = message.replace(hint[0], "") if hint else message
    return invalid_image(path, reason, hint[1] if hint else None, UndecodableImageError)
