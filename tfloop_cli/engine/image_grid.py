"""Images in a grid, as one image and as a PNG file."""

import numpy as np
import tensorflow as tf

GAP = 2  # pixels between two images


def grid(images: np.ndarray, columns: int = 0) -> np.ndarray:
    """Arranges images in a grid, row by row.

    Args:
        images: float [n, height, width, channels] in [0, 1].
        columns: images per row; 0 for a square grid.

    Returns:
        uint8 [rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels]: one image with black gaps.
    """
    count, height, width, channels = images.shape
    side = int(np.ceil(np.sqrt(count)))
    lines, columns = (-(-count // columns), columns) if columns else (side, side)
    pixels = np.zeros((lines * columns, height + GAP, width + GAP, channels), np.uint8)
    pixels[:count, GAP:, GAP:] = np.round(np.clip(images, 0, 1) * 255)
    rows = pixels.reshape(lines, columns, height + GAP, width + GAP, channels).swapaxes(1, 2)
    flat = rows.reshape(lines * (height + GAP), columns * (width + GAP), channels)
    return np.pad(flat, ((0, GAP), (0, GAP), (0, 0)))


def png(pixels: np.ndarray) -> bytes:
    """Returns an image as the content of a PNG file: uint8 [height, width, channels], 1, 3 or 4 channels."""
    content: bytes = tf.io.encode_png(pixels).numpy()
    return content
