"""The vision transformer: its parts, what it asks of the data, and that it learns."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.models.vit import Position
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, models

IMAGES = DataSpec((8, 12, 3), "uint8", (), ("a", "b", "c"))


def build(spec: DataSpec = IMAGES, **arguments: object) -> keras.Model:
    return models.build(Component("vit", arguments), spec)


def test_its_layers_and_size() -> None:
    model = build(width=8, depth=2, heads=2)
    assert model.input_shape == (None, 8, 12, 3)
    assert model.output_shape == (None, 3)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert (kinds.count("MultiHeadAttention"), kinds.count("LayerNormalization"), kinds.count("Dropout")) == (2, 5, 0)
    patches, width = 2 * 3, 8
    norm, attention = 2 * width, 4 * width * (width + 1)
    block = 2 * norm + attention + width * 4 * width + 4 * width + 4 * width * width + width
    assert model.count_params() == (4 * 4 * 3 + 1) * width + patches * width + 2 * block + norm + (width + 1) * 3


def test_a_patch_is_a_place_without_overlap() -> None:
    """Position 1 of the sequence changes with the second patch of the first row, and with no other."""
    model = build(width=8, depth=1, heads=2)
    patches = keras.Model(model.input, next(one for one in model.layers if isinstance(one, Position)).output)
    image = np.zeros((1, 8, 12, 3), np.float32)
    before = patches(image).numpy()
    image[0, 0:4, 4:8] = 1
    changed = np.abs(patches(image).numpy() - before).sum(axis=2)[0]
    assert (changed > 0).tolist() == [False, True, False, False, False, False]


def test_places_are_told_apart() -> None:
    """Without positions, a mean over patches would be the same for patches in any order."""
    model = build(width=8, depth=1, heads=2)
    image = np.random.default_rng(0).random((1, 8, 12, 3), np.float32)
    assert not np.allclose(model(image), model(np.roll(image, 4, axis=2)), atol=1e-6)
    position = next(layer for layer in model.layers if isinstance(layer, Position))
    position.embedding.assign(tf.zeros_like(position.embedding))
    np.testing.assert_allclose(model(image), model(np.roll(image, 4, axis=2)), atol=1e-5)


def test_it_drops_in_training_only() -> None:
    model = build(width=8, depth=1, heads=2, dropout=0.5)
    image = np.ones((1, 8, 12, 3), np.float32)
    assert not np.allclose(model(image, training=True), model(image, training=True))
    np.testing.assert_array_equal(model(image, training=False), model(image, training=False))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"patch_size": 3}, "`model.patch_size` 3 does not divide the images' sides, 8x12"),
        ({"patch_size": 8}, "`model.patch_size` 8 does not divide"),
        ({"width": 10, "heads": 4}, "`model.width` must be a multiple of `model.heads`; found 10 and 4"),
    ],
)
def test_what_does_not_fit_is_told(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(TfloopError, match=said) as caught:
        build(**arguments)
    assert caught.value.code == ExitCode.USAGE


def test_it_needs_images() -> None:
    with pytest.raises(TfloopError, match="`vit` needs images"):
        build(DataSpec((32,), "float32", (), ("a",)))


def test_it_learns_and_a_rerun_ends_with_the_same_bits(trainer) -> None:
    model = {"name": "vit", "width": 8, "depth": 1, "heads": 2, "dropout": 0.1}
    runs = [trainer(model=model, optimizer={"name": "adam", "learning_rate": 0.01}, epochs=10) for _ in range(2)]
    first, *_, last = runs[0].fit()
    assert last.train["loss"] < first.train["loss"] - 0.2
    runs[1].fit()
    for one, other in zip(runs[0].weights(), runs[1].weights(), strict=True):
        np.testing.assert_array_equal(one, other)
