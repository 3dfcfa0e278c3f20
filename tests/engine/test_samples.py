"""Samples: images in a grid, saved after each epoch."""

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.image_grid import GAP, grid
from tfloop_cli.engine.samples import Samples
from tfloop_cli.events import EpochDone, Progress
from tfloop_cli.runs.folder import RunFolder

HEIGHT, WIDTH = 3, 5


def cell(image: np.ndarray, row: int, column: int) -> np.ndarray:
    """Returns one image of a grid."""
    top, left = GAP + row * (HEIGHT + GAP), GAP + column * (WIDTH + GAP)
    return image[top : top + HEIGHT, left : left + WIDTH]


@pytest.mark.parametrize(("count", "side"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_grid_is_square_and_filled_row_by_row(count: int, side: int, channels: int) -> None:
    images = np.random.default_rng(0).random((count, HEIGHT, WIDTH, channels), np.float32)
    result = grid(images)
    assert result.dtype == np.uint8
    assert result.shape == (side * (HEIGHT + GAP) + GAP, side * (WIDTH + GAP) + GAP, channels)
    cells = [cell(result, *divmod(number, side)) for number in range(count)]
    for got, image in zip(cells, images, strict=True):
        np.testing.assert_array_equal(got, np.round(image * 255))
    assert result.sum(dtype=int) == sum(one.sum(dtype=int) for one in cells)  # the rest is black


@pytest.mark.parametrize(("value", "pixel"), [(1.5, 255), (-0.5, 0)])
def test_grid_clips_values_out_of_range(value: float, pixel: int) -> None:
    assert (cell(grid(np.full((1, HEIGHT, WIDTH, 1), value, np.float32)), 0, 0) == pixel).all()


def epoch_done(epoch: int) -> EpochDone:
    return EpochDone(epoch, 10, {}, None, 1.0, 0.0, 1.0)


def test_gan_saves_samples_only_after_epochs(tmp_path, trainer) -> None:
    run = trainer(model={"name": "dcgan", "latent": 3, "width": 2}, task={"name": "gan", "sample_rows": 2})
    samples = Samples(RunFolder(tmp_path), run.state, run.task)
    samples.handle(Progress(1, 1, 1, {}, 1.0))
    assert list(tmp_path.iterdir()) == []
    samples.handle(epoch_done(3))
    image = tf.io.decode_png((tmp_path / "samples" / "epoch-0003.png").read_bytes()).numpy()
    np.testing.assert_array_equal(image, grid(run.task.samples(run.state)))
    assert image.shape == (2 * (8 + GAP) + GAP, 2 * (8 + GAP) + GAP, 1)
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["epoch-0003.png"]


def test_other_tasks_save_no_samples(tmp_path, trainer) -> None:
    run = trainer()
    Samples(RunFolder(tmp_path), run.state, run.task).handle(epoch_done(1))
    assert list(tmp_path.iterdir()) == []
