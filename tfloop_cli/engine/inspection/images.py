"""Training images as the model receives them: augmented, in rows by class."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfloop_cli.config.schema import Config
from tfloop_cli.data_summary import Thumbnails
from tfloop_cli.engine.data import Data, InputSpec
from tfloop_cli.engine.data.structures import is_several, named_values

PER_ROW, MAX_ROWS = 8, 8  # images of a class, and classes
MAX_SEARCHED = 512  # images of the first batches, from which those of the rows are taken
THUMBNAIL, THUMBNAIL_ROWS = 16, 4  # in a terminal: width of an image in pixels, and classes


@dataclass(frozen=True)
class ImageRows:
    """Images for a grid.

    Attributes:
        images: float32 [rows * PER_ROW, height, width, channels] in [0, 1]; black where a class has too few images.
        labels: the class of each row; empty if the images have no classes.
    """

    images: np.ndarray
    labels: tuple[str, ...]


def image_rows(data: Data, config: Config) -> ImageRows | None:
    """Returns images of the first training batches of a run, exactly as the model receives them; None without images.

    The rows are the classes with the most images among these; without classes, any images.
    """
    inputs = [(name, one) for name, one in named_values(data.spec.inputs) if one.is_image and len(one.shape) in (2, 3)]
    if not inputs:
        return None
    name, spec = inputs[0]
    by_label, has_classes = _first_images(data, config, name)
    chosen = sorted(sorted(by_label, key=lambda label: (-len(by_label[label]), label))[:MAX_ROWS])
    grid = np.zeros((len(chosen), PER_ROW, *by_label[chosen[0]][0].shape), np.float32)
    for number, label in enumerate(chosen):
        grid[number, : len(by_label[label])] = np.stack(by_label[label])
    images = _in_unit_range(np.nan_to_num(grid.reshape(-1, *grid.shape[2:])), spec, config)
    labels = tuple(data.spec.class_names[label] for label in chosen) if has_classes else ()
    return ImageRows(images[..., None] if images.ndim == 3 else images, labels)


def _first_images(data: Data, config: Config, name: str) -> tuple[dict[int, list[np.ndarray]], bool]:
    """Returns up to `PER_ROW` images of each class in the first batches, and whether there are classes.

    Without classes, the keys are the numbers of rows.
    """
    spec = data.spec.targets
    has_classes = not is_several(spec) and spec.classes > 0 and (spec.one_hot or spec.shape in ((), (1,)))
    rows = min(spec.classes, MAX_ROWS) if has_classes else MAX_ROWS
    found: dict[int, list[np.ndarray]] = {}
    for inputs, targets, *_ in data.batches(0, min(data.steps_per_epoch, -(-MAX_SEARCHED // config.batch_size))):
        images, placed = dict(named_values(inputs))[name].numpy(), sum(map(len, found.values()))
        labels = spec.labels_of(targets).numpy() if has_classes else (np.arange(len(images)) + placed) // PER_ROW
        for image, label in zip(images, labels.tolist(), strict=True):
            if len(row := found.setdefault(label, [])) < PER_ROW:
                row.append(image)
        if sum(len(row) == PER_ROW for row in found.values()) >= rows:
            break
    return found, has_classes


def _in_unit_range(images: np.ndarray, spec: InputSpec, config: Config) -> np.ndarray:
    """Returns images in [0, 1]; those of floats beyond it are scaled by the smallest and the largest value."""
    if spec.dtype == "uint8":
        return np.clip(images if spec.is_scaled(config.scale_uint8) else images / 255, 0, 1)
    low, high = float(images.min()), float(images.max())
    return images if 0 <= low <= high <= 1 else (images - low) / ((high - low) or 1)


def thumbnails(rows: ImageRows, width: int) -> tuple[Thumbnails, ...]:
    """Returns the first rows as thumbnails.

    Args:
        rows: see `image_rows`.
        width: of the terminal, in characters, each of which is one pixel.
    """
    per_row, (height, side, channels) = PER_ROW, rows.images.shape[1:]
    thumb = min(side, THUMBNAIL)
    tall = max(2, round(height * thumb / side / 2) * 2)
    count = max(1, min(per_row, (width + 1) // (thumb + 1)))
    small = tf.image.resize(rows.images, (tall, thumb), "area").numpy()
    small = np.repeat(small, 3, axis=-1) if channels == 1 else small[..., :3]
    lines = np.zeros((len(small) // per_row, per_row, tall, thumb + 1, 3), np.uint8)
    lines[..., :thumb, :] = np.round(np.clip(small.reshape(*lines.shape[:2], tall, thumb, 3), 0, 1) * 255)
    strips = lines[:THUMBNAIL_ROWS, :count].swapaxes(1, 2).reshape(-1, tall, count * (thumb + 1), 3)[:, :, :-1]
    labels = rows.labels or ("",) * len(strips)
    return tuple(
        Thumbnails(label, strip.shape[1], strip.tobytes()) for label, strip in zip(labels, strips, strict=False)
    )
