"""The size to which images are decoded, and the range of 16-bit pixels, from a sample of the training images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfloop_cli.engine.data.images.contents import open_image
from tfloop_cli.engine.data.images.formats import HEAD_BYTES, PILLOW_FORMATS, ImageInfo, describe
from tfloop_cli.engine.data.images.pixels import complete_info, largest_value

MAX_SIDE = 128  # pixels, of `size: auto`
MAX_SAMPLE, MAX_SAMPLE16 = 1000, 50  # images whose headers and pixels are read


@dataclass(frozen=True)
class Survey:
    """What a sample of the training images has in common.

    Attributes:
        size: height and width for `size: auto`; None if no image of the sample could be read.
        about: how it was chosen, for the user.
        max16: the value of 16-bit images that becomes 255.
        has16: whether there are 16-bit images.
    """

    size: tuple[int, int] | None
    about: str
    max16: int
    has16: bool


def survey(paths: Sequence[str]) -> Survey:
    """Reads the headers of up to `MAX_SAMPLE` images, evenly spaced.

    The size is that of the images if all have the same, else the medians of their heights and of their widths; it is
    scaled down if a side is longer than `MAX_SIDE`.

    16-bit images often use fewer bits. The value that becomes 255 is one for the whole set, so that images stay
    comparable: the smallest of 255, 511, 1023, ... 65535 that the pixels of up to `MAX_SAMPLE16` images do not exceed.
    """
    chosen = _evenly(paths, MAX_SAMPLE)
    infos = [(path, info) for path in chosen if (info := _info(path))]
    sizes = np.array([(info.height, info.width) for _, info in infos if info.height]).reshape(-1, 2)
    deep = [path for path, info in infos if info.bits > 8]
    max16 = 65535
    if largest := max(map(largest_value, _evenly(deep, MAX_SAMPLE16)), default=0):
        max16 = max(255, 2 ** int(largest).bit_length() - 1)
    size, about = _size(sizes) if len(sizes) else (None, "")
    return Survey(size, about, max16, bool(deep))


def _size(sizes: np.ndarray) -> tuple[tuple[int, int], str]:
    """Returns height and width for images of these sizes, [images, 2], and how they were chosen."""
    low, median, high = sizes.min(0), np.median(sizes, axis=0), sizes.max(0)
    height, width = (max(1, round(side)) for side in median * min(1, MAX_SIDE / median.max()))
    if (low == high).all():
        about = "the size of the images" if (height, width) == tuple(low) else f"the images have {low[0]}x{low[1]}"
    else:
        about = f"the medians of {len(sizes):,} training images from {low[0]}x{low[1]} to {high[0]}x{high[1]}"
    limited = f", scaled down to a side of {MAX_SIDE}" if median.max() > MAX_SIDE else ""
    return (height, width), about + limited


def _evenly(items: Sequence[str], count: int) -> list[str]:
    """Returns at most `count` items, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[number * len(items) // count] for number in range(count)]


def _info(path: str) -> ImageInfo | None:
    """Returns a description of a file; None if it cannot be read, which decoding reports."""
    try:
        with open_image(path) as file:
            head = file.read(HEAD_BYTES)
            info = describe(head)
            if info and info.format in PILLOW_FORMATS:
                return complete_info(path, info)
            return info if info and info.height else describe(head + file.read())
    except OSError:
        return None
