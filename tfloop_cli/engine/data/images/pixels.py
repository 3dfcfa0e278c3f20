"""Decodes what TensorFlow's decoder alone does not: see `formats`."""

import io
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.images.contents import open_image
from tfloop_cli.engine.data.images.formats import ImageInfo, describe, format_of, transparency_of_gif

try:
    from PIL import Image, ImageOps
except ImportError:  # it is an extra
    Image = ImageOps = None
try:
    import pillow_heif
except ImportError:
    pillow_heif = None
else:
    pillow_heif.register_heif_opener()

# What Pillow raises for damaged files, depending on their format.
_PILLOW_ERRORS: tuple[type[Exception], ...] = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, AttributeError, EOFError, RuntimeError, struct.error,
    zlib.error,
)  # fmt: skip
if Image is not None:
    _PILLOW_ERRORS = (*_PILLOW_ERRORS, Image.DecompressionBombError)
NEEDS_PILLOW = "install Pillow"
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as in JPEG
NEARLY_WHITE = 230  # a gray level
_TRANSPOSED = (5, 6, 7, 8)  # orientations that swap rows and columns


def decode_pixels(content: bytes, channels: int, background: int, max16: int) -> np.ndarray:
    """Returns the pixels of an image file as they are displayed: uint8 [height, width, channels].

    Args:
        content: of the file.
        channels: 3 for color, 1 for grayscale.
        background: the gray level behind transparent pixels, 0 to 255.
        max16: the value of 16-bit images that becomes 255; larger ones are clipped to it.

    Raises:
        ValueError: the file cannot be decoded.
    """
    info = describe(content)
    assert info is not None
    try:
        pixels = _decode(content, info, background, max16)
    except tf.errors.ResourceExhaustedError:
        raise
    except tf.errors.OpError as error:
        raise ValueError(error.message.splitlines()[0]) from error
    if pixels.shape[2] == 4:
        pixels = _compose(pixels, background)
    if channels == 1:
        pixels = np.round(pixels @ _LUMA)[..., None].astype(np.uint8)
    return np.ascontiguousarray(oriented(pixels, info.orientation))


def oriented(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Returns an image as it is displayed, for an orientation of EXIF: [height, width, channels]."""
    if orientation in _TRANSPOSED:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _decode(content: bytes, info: ImageInfo, background: int, max16: int) -> np.ndarray:
    """Returns uint8 [height, width, 3 or 4], before the orientation is applied."""
    if info.format == "png" and info.bits == 16:
        return _scale16(tf.io.decode_png(content, 4, tf.uint16).numpy(), max16)
    if info.format == "png":
        return tf.io.decode_png(content, 4).numpy()
    if info.format == "jpeg":
        return tf.io.decode_jpeg(content, 3).numpy()
    if info.format == "webp":
        return tf.io.decode_image(content, 4 if info.alpha else 3, expand_animations=False).numpy()
    if info.format == "gif":
        return tf.io.decode_gif(_opaque_gif(content, background)).numpy()[0]
    if info.format == "bmp":
        return _decode_bmp(content, max16, background)
    return _decode_with_pillow(content, info.format, max16)


def _scale16(values: np.ndarray, max16: int) -> np.ndarray:
    """Converts 16-bit pixels [height, width, channels] to uint8; a fourth channel is alpha, of all 16 bits."""
    maxima = np.array([max16, max16, max16, 65535][: values.shape[2]])
    return np.round(np.minimum(values / maxima, 1) * 255).astype(np.uint8)


def _compose(pixels: np.ndarray, background: int) -> np.ndarray:
    """Composes uint8 [height, width, 4] over a gray level: uint8 [height, width, 3]."""
    color, alpha = pixels[..., :3].astype(np.uint32), pixels[..., 3:].astype(np.uint32)
    return ((color * alpha + background * (255 - alpha) + 127) // 255).astype(np.uint8)


def _opaque_gif(content: bytes, background: int) -> bytes:
    """Returns a GIF file whose transparent color is the background, which TensorFlow would make black."""
    places = transparency_of_gif(content)
    if places is None:
        return content
    changed = bytearray(content)
    control, color = places
    changed[control] &= ~1
    changed[color : color + 3] = bytes([background] * 3)
    return bytes(changed)


def _decode_bmp(content: bytes, max16: int, background: int) -> np.ndarray:
    """Decodes uncompressed BMP files, those with a palette included, whose indices TensorFlow reads as gray levels."""
    try:
        start, header, width, height = struct.unpack_from("<IIii", content, 10)
        bits, compression = struct.unpack_from("<HI", content, 28)
        if bits in (24, 32) and compression in (0, 3):  # the fourth byte is no alpha
            return tf.io.decode_bmp(content).numpy()[..., :3]
        if bits not in (1, 4, 8) or compression:
            return _decode_with_pillow(content, "bmp (compressed)", max16)
        (colors,) = struct.unpack_from("<I", content, 46)
        palette = np.frombuffer(content, np.uint8, 4 * (colors or 2**bits), 14 + header).reshape(-1, 4)[:, 2::-1]
        row = (width * bits + 31) // 32 * 4  # bytes, padded
        rows = np.frombuffer(content, np.uint8, row * abs(height), start).reshape(abs(height), row)
        numbers = np.unpackbits(rows, axis=1).reshape(abs(height), -1, bits)[:, :width] @ (1 << np.arange(bits)[::-1])
        return palette[numbers[::-1] if height > 0 else numbers]
    except (struct.error, IndexError) as error:
        raise ValueError(f"the BMP file is damaged: {error}") from error


def _decode_with_pillow(content: bytes, name: str, max16: int) -> np.ndarray:
    """Returns the first frame as it is displayed: uint8 [height, width, 3 or 4]."""
    packages = "pillow pillow-heif" if name == "heic" else "pillow"
    if Image is None or (name == "heic" and pillow_heif is None):
        raise ValueError(f"TensorFlow cannot decode {name}; {NEEDS_PILLOW}: `pip install {packages}`")
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        return _from_pillow(image, max16)
    except _PILLOW_ERRORS as error:
        raise ValueError(f"Pillow cannot decode this {name} file: {error}") from error


def _from_pillow(image: Any, max16: int) -> np.ndarray:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):  # more than 8 bits
        values = np.asarray(image).astype(np.int64)
        return _scale16(np.repeat(np.maximum(values, 0)[..., None], 3, axis=2), max16)
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def pillow_version() -> str:
    """Returns what decides which formats can be decoded."""
    versions = [getattr(module, "__version__", "") for module in (Image, pillow_heif)]
    return " ".join(versions)


def complete_info(path: str, info: ImageInfo) -> ImageInfo:
    """Returns the description of a file that `describe` cannot read, with size and bits if Pillow can read them."""
    if Image is None:
        return info
    try:
        with open_image(path) as file, Image.open(file) as image:
            orientation = image.getexif().get(0x0112, 1)
            height, width = image.size if orientation in _TRANSPOSED else image.size[::-1]
            return replace(info, height=height, width=width, bits=16 if image.mode.startswith("I") else 8)
    except _PILLOW_ERRORS:
        return info


def visible_pixels(path: str, max16: int) -> tuple[float, float]:
    """Returns how many pixels of an image with transparent ones are visible, and how many of these are nearly white.

    Half-transparent pixels count half. (0, 0) if no pixel is transparent, or the file cannot be decoded.
    """
    try:
        with open_image(path) as file:
            content = file.read()
        info = describe(content)
        pixels = _decode(content, info, 255, max16) if info else np.empty((0, 0, 3))
    except (*_PILLOW_ERRORS, tf.errors.OpError):
        return 0.0, 0.0
    if pixels.shape[2] < 4 or pixels[..., 3].min() == 255:
        return 0.0, 0.0
    visible = pixels[..., 3] / 255
    return float(visible.sum()), float(visible[pixels[..., :3] @ _LUMA >= NEARLY_WHITE].sum())


def largest_value(path: str) -> int:
    """Returns the largest value in the pixels of a 16-bit image; 0 if it cannot be decoded."""
    try:
        with open_image(path) as file:
            content = file.read()
        if format_of(content) != "png":
            return int(np.asarray(Image.open(io.BytesIO(content))).max())
        values = tf.io.decode_png(content, 0, tf.uint16).numpy()
    except (*_PILLOW_ERRORS, tf.errors.OpError):
        return 0
    return int(values[..., : 1 if values.shape[2] < 3 else 3].max())  # without alpha
