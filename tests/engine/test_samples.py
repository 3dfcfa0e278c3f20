"""Grids of images."""

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.samples import GAP, Samples, grid
from tfloop_cli.events import EpochDone, Progress
from tfloop_cli.runs.folder import RunFolder

HEIGHT, WIDTH = 3, 5


def cell(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    top, left = GAP + row * (HEIGHT + GAP), GAP + column * (WIDTH + GAP)
    return picture[top : top + HEIGHT, left : left + WIDTH]


@pytest.mark.parametrize(("count", "side"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_lie_in_a_square_row_by_row(count: int, side: int, channels: int) -> None:
    images = np.random.default_rng(0).random((count, HEIGHT, WIDTH, channels), np.float32)
    picture = grid(images)
    assert picture.dtype == np.uint8
    assert picture.shape == (side * (HEIGHT + GAP) + GAP, side * (WIDTH + GAP) + GAP, channels)
    for number, image in enumerate(images):
        np.testing.assert_array_equal(cell(picture, *divmod(number, side)), np.round(image * 255))
    inside = sum(int(cell(picture, *divmod(number, side)).astype(int).sum()) for number in range(count))
    assert int(picture.astype(int).sum()) == inside  # all else is black


def test_what_is_out_of_range_is_clipped_and_not_wrapped() -> None:
    assert cell(grid(np.full((1, HEIGHT, WIDTH, 1), 1.5, np.float32)), 0, 0).min() == 255
    assert cell(grid(np.full((1, HEIGHT, WIDTH, 1), -0.5, np.float32)), 0, 0).max() == 0


def epoch(number: int) -> EpochDone:
    return EpochDone(number, 10, {}, None, 1.0, 0.0, 1.0)


def test_a_gan_draws_a_png_after_each_epoch_and_at_no_other_time(tmp_path, trainer) -> None:
    run = trainer(model={"name": "dcgan", "latent": 3, "width": 2}, task={"name": "gan", "sample_rows": 2})
    samples = Samples(RunFolder(tmp_path), run.state, run.task)
    samples.handle(Progress(1, 1, 1, {}, 1.0))
    assert list(tmp_path.iterdir()) == []
    samples.handle(epoch(3))
    picture = tf.io.decode_png((tmp_path / "samples" / "epoch-0003.png").read_bytes()).numpy()
    np.testing.assert_array_equal(picture, grid(run.task.samples(run.state)))
    assert picture.shape == (2 * (8 + GAP) + GAP, 2 * (8 + GAP) + GAP, 1)
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["epoch-0003.png"]


def test_other_tasks_draw_nothing(tmp_path, trainer) -> None:
    run = trainer()
    Samples(RunFolder(tmp_path), run.state, run.task).handle(epoch(1))
    assert list(tmp_path.iterdir()) == []
