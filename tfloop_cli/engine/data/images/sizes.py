"""Size, background and range of 16-bit pixels with which images are decoded, from a sample of the training images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tfloop_cli.engine.data.images.contents import open_image
from tfloop_cli.engine.data.images.formats import HEAD_BYTES, PILLOW_FORMATS, ImageInfo, describe
from tfloop_cli.engine.data.images.pixels import complete_info, largest_value, visible_pixels

MAX_SIDE = 128  # pixels, of `size: auto`
MIN_SHORT_SIDE = 32  # pixels that scaling down to `MAX_SIDE` leaves, such as of the height of a line of text
MAX_SAMPLE, MAX_DECODED = 1000, 50  # images whose headers and pixels are read
LOST_ON_WHITE = 0.98  # of the visible pixels, which are nearly white: white icons


@dataclass(frozen=True)
class Survey:
    """What a sample of the training images has in common.

    Attributes:
        size: height and width for `size: auto`; None if no image of the sample could be read.
        about: how it was chosen, for the user.
        max16: the value of 16-bit images that becomes 255.
        has16: whether there are 16-bit images.
        background: for `background: auto`.
    """

    size: tuple[int, int] | None
    about: str
    max16: int
    has16: bool
    background: Literal["white", "black"]


def survey(paths: Sequence[str], max16: int | None = None) -> Survey:
    """Reads the headers of up to `MAX_SAMPLE` images, evenly spaced.

    The size is that of the images if all have the same, else the medians of their heights and of their widths; it is
    scaled down if a side is longer than `MAX_SIDE`. Long images stay longer than that, so that their shorter side has
    up to `MIN_SHORT_SIDE` pixels, if they have no more pixels than a square of `MAX_SIDE`.

    16-bit images often use fewer bits. The value that becomes 255 is one for the whole set, so that images stay
    comparable: `max16`, or the smallest of 255, 511, 1023, ... 65535 that the pixels of up to `MAX_DECODED` images do
    not exceed.

    The background is white, on which most images are drawn; but black if nearly all that is visible in up to
    `MAX_DECODED` images with transparent pixels is white, and would be lost.
    """
    chosen = _evenly(paths, MAX_SAMPLE)
    infos = [(path, info) for path in chosen if (info := _info(path))]
    sizes = np.array([(info.height, info.width) for _, info in infos if info.height]).reshape(-1, 2)
    deep = [path for path, info in infos if info.bits > 8]
    if max16 is None:
        largest = max(map(largest_value, _evenly(deep, MAX_DECODED)), default=0)
        max16 = max(255, 2 ** int(largest).bit_length() - 1) if largest else 65535
    size, about = _size(sizes) if len(sizes) else (None, "")
    transparent = _evenly([path for path, info in infos if info.alpha], MAX_DECODED)
    visible, light = np.array([(0.0, 0.0), *(visible_pixels(path, max16) for path in transparent)]).sum(0)
    background: Literal["white", "black"] = "black" if light > LOST_ON_WHITE * visible else "white"
    return Survey(size, about, max16, bool(deep), background)


def _size(sizes: np.ndarray) -> tuple[tuple[int, int], str]:
    """Returns height and width for images of these sizes, [images, 2], and how they were chosen."""
    low, median, high = sizes.min(0), np.median(sizes, axis=0), sizes.max(0)
    scale = _scale(*sorted(median))
    height, width = (max(1, round(side)) for side in median * scale)
    if (low == high).all():
        about = "the size of the images" if (height, width) == tuple(low) else f"the images have {low[0]}x{low[1]}"
    else:
        about = f"the medians of {len(sizes):,} training images from {low[0]}x{low[1]} to {high[0]}x{high[1]}"
    if scale == 1:
        return (height, width), about
    limited = f"a side of {MAX_SIDE}" if scale * median.max() <= MAX_SIDE else f"{height * width:,} pixels"
    return (height, width), f"{about}, scaled down to {limited}"


def _scale(short: float, long: float) -> float:
    """Returns the factor for the sides of images."""
    least = min(MIN_SHORT_SIDE / short, MAX_SIDE / np.sqrt(short * long))
    return min(1.0, max(MAX_SIDE / long, least))


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
