"""The image grid: images as the model receives them, a row per class, and thumbnails for a terminal."""

from collections.abc import Callable

import numpy as np
import pytest

from tfloop_cli.engine.data import Data, from_arrays
from tfloop_cli.engine.image_grid import GAP, grid
from tfloop_cli.engine.inspection import ImageRows, image_rows, thumbnails
from tfloop_cli.engine.inspection.images import PER_ROW, THUMBNAIL, THUMBNAIL_ROWS

random = np.random.default_rng(0)


@pytest.fixture
def rows_of(configure: Callable) -> Callable[..., ImageRows | None]:
    def make(images: np.ndarray, labels: np.ndarray, **changes: object) -> ImageRows | None:
        config = configure(**{"test": 0, "batch_size": 16} | changes)
        return image_rows(Data(from_arrays({"train": (images, labels)}), config), config)

    return make


def test_each_class_has_a_row_of_its_images(rows_of) -> None:
    labels = np.arange(60) % 3
    images = np.full((60, 8, 8, 1), 10, np.uint8) + (labels * 100)[:, None, None, None].astype(np.uint8)
    rows = rows_of(images, labels)
    assert rows.labels == ("0", "1", "2")
    assert rows.images.shape == (3 * PER_ROW, 8, 8, 1)
    expected = np.repeat([10, 110, 210], PER_ROW) / 255
    np.testing.assert_allclose(rows.images, np.broadcast_to(expected[:, None, None, None], rows.images.shape))


def test_class_with_few_images_is_filled_with_black(rows_of) -> None:
    labels = np.where(np.arange(40) < 3, 1, 0)
    rows = rows_of(np.full((40, 8, 8, 3), 255, np.uint8), labels)
    shown = rows.images.reshape(2, PER_ROW, -1)[:, :, 0]
    np.testing.assert_array_equal(shown, [[1] * PER_ROW, [1] * 3 + [0] * (PER_ROW - 3)])


def test_classes_with_the_most_images_of_many_are_shown(rows_of) -> None:
    labels = np.concatenate([np.arange(100, 108).repeat(9), np.arange(100)])
    images = np.broadcast_to(labels[:, None, None, None], (len(labels), 8, 8, 1)).astype(np.uint8)
    rows = rows_of(images, labels)
    assert rows.labels == tuple(map(str, range(100, 108)))
    assert len(set(rows.images[:PER_ROW].flat)) == 1


def test_images_are_those_of_the_first_batches_with_augmentation(rows_of, configure) -> None:
    images, labels = random.integers(0, 256, (32, 8, 8, 3), np.uint8), np.zeros(32, np.int64)
    changes = {"test": 0, "batch_size": 16, "augment": [{"name": "shift", "pixels": 3}, "flip"], "seed": 3}
    rows = rows_of(images, labels, **changes)
    data = Data(from_arrays({"train": (images, labels)}), configure(**changes))
    seen = next(iter(data.batches(0, 1)))[0].numpy()[:PER_ROW]
    np.testing.assert_array_equal(rows.images, seen)
    assert not any((image == images / np.float32(255)).all(axis=(1, 2, 3)).any() for image in rows.images)


def test_floats_beyond_one_are_scaled_and_missing_channels_are_added(rows_of) -> None:
    images = np.broadcast_to(np.array([-2, 2], np.float32)[np.arange(32) % 2][:, None, None], (32, 8, 8)).copy()
    rows = rows_of(images, (np.arange(32) % 2).astype(np.float32))  # targets are numbers
    assert rows.labels == ()
    assert rows.images.shape == (32, 8, 8, 1)
    assert sorted(set(rows.images.flat)) == [0, 1]


def test_data_without_images_has_no_rows(rows_of) -> None:
    assert rows_of(random.random((20, 5)).astype(np.float32), np.arange(20) % 2) is None


def test_grid_with_columns_has_the_rows_that_it_needs() -> None:
    result = grid(random.random((5, 3, 4, 3)).astype(np.float32), columns=2)
    assert result.shape == (3 * (3 + GAP) + GAP, 2 * (4 + GAP) + GAP, 3)


@pytest.mark.parametrize(("width", "count"), [(1000, PER_ROW), (60, 3), (5, 1)])
def test_thumbnails_fit_in_the_terminal(width: int, count: int) -> None:
    images = np.zeros((6 * PER_ROW, 32, 64, 1), np.float32)
    images[PER_ROW : 2 * PER_ROW] = 1  # the second row is white
    found = thumbnails(ImageRows(images, tuple("abcdef")), width)
    assert [one.label for one in found] == list("abcdef")[:THUMBNAIL_ROWS]
    assert {one.width for one in found} == {count * (THUMBNAIL + 1) - 1}
    tall = THUMBNAIL // 2  # as wide as two of its heights
    pixels = [np.frombuffer(one.pixels, np.uint8).reshape(tall, one.width, 3) for one in found]
    assert pixels[0].max() == 0
    assert (pixels[1][:, :THUMBNAIL] == 255).all()


def test_small_images_are_not_enlarged() -> None:
    (strip,) = thumbnails(ImageRows(np.ones((PER_ROW, 8, 8, 3), np.float32), ()), 80)
    assert (strip.label, strip.width, len(strip.pixels)) == ("", PER_ROW * 9 - 1, 8 * (PER_ROW * 9 - 1) * 3)
