"""Which inputs are images, by their shape; used by datasets and by reports."""

from collections.abc import Sequence

MIN_SIDE = 8  # pixels: inputs [height, width] are an image if both have as many
CHANNELS = (1, 3, 4)  # of an image [height, width, channels], or of several [frames, height, width, channels]


def has_image_shape(shape: Sequence[int | None]) -> bool:
    """Whether an input of this shape, without the batch, is an image, or several; see `MIN_SIDE` and `CHANNELS`."""
    if len(shape) == 2:
        return all(length is None or length >= MIN_SIDE for length in shape)
    return len(shape) > 2 and shape[-1] in CHANNELS
