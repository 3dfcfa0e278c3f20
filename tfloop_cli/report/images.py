"""Images of examples as PNG files within a page."""

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np

MAX_BYTES = 240_000  # of all images of a page, as base64
SIDES = (96, 72, 56, 40, 28, 20)  # pixels: the largest side with which the images fit is used
_COLOR_TYPE = {1: 0, 3: 2, 4: 6}  # of PNG, by channels


def data_uris(images: Sequence[np.ndarray]) -> list[str]:
    """Returns images as `data:` URIs, reduced so that they fit into the page.

    Args:
        images: uint8, or floats of any range; [height, width] or [height, width, channels] with 1, 3 or 4 channels.
    """
    found: list[str] = []
    for side in SIDES:
        found = [f"data:image/png;base64,{base64.b64encode(png(thumbnail(one, side))).decode()}" for one in images]
        if sum(map(len, found)) <= MAX_BYTES:
            break
    return found


def thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    """Returns an image whose sides are at most `side` pixels, as means over blocks: uint8 [height, width, channels]."""
    pixels = as_bytes(image)
    factor = -(-max(pixels.shape[:2]) // side)
    if factor > 1:
        height, width = (max(1, length // factor) for length in pixels.shape[:2])
        cut = pixels[: height * factor, : width * factor]
        blocks = cut.reshape(height, cut.shape[0] // height, width, cut.shape[1] // width, -1)
        pixels = np.round(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return pixels


def as_bytes(image: np.ndarray) -> np.ndarray:
    """Returns an image as uint8 [height, width, channels]; floats outside of [0, 1] are scaled to their range."""
    image = image[..., None] if image.ndim == 2 else image
    if image.dtype == np.uint8:
        return image
    values = np.nan_to_num(image.astype(np.float64), nan=0.0, posinf=1.0, neginf=0.0)
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    if low < 0 or high > 1:
        values = (values - low) / ((high - low) or 1.0)
    return np.asarray(np.round(values * 255), np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """Returns an image as the content of a PNG file: uint8 [height, width, channels], 1, 3 or 4 channels."""
    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPE[channels], 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
