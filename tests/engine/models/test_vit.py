"""The vision transformer: layers, patches, positions, dropout, errors and training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.models.vit import Position
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, models

IMAGES = DataSpec((8, 12, 3), "uint8", (), ("a", "b", "c"))


def build(**arguments: object) -> keras.Model:
    return models.build(Component("vit", {"width": 8, "depth": 1, "heads": 2, **arguments}), IMAGES)


def position_layer(model: keras.Model) -> Position:
    (layer,) = (layer for layer in model.layers if isinstance(layer, Position))
    return layer


def test_vit_has_the_configured_layers_and_parameters() -> None:
    model = build(depth=2)
    assert model.input_shape == (None, 8, 12, 3)
    assert model.output_shape == (None, 3)
    types = [type(layer).__name__ for layer in model.layers]
    assert (types.count("MultiHeadAttention"), types.count("LayerNormalization"), types.count("Dropout")) == (2, 5, 0)
    patches, width = 2 * 3, 8
    norm, attention = 2 * width, 4 * width * (width + 1)
    block = 2 * norm + attention + width * 4 * width + 4 * width + 4 * width * width + width
    assert model.count_params() == (4 * 4 * 3 + 1) * width + patches * width + 2 * block + norm + (width + 1) * 3


def test_each_position_depends_on_one_patch_only() -> None:
    """The second patch of the first row affects position 1 of the sequence only."""
    model = build()
    embed_patches = keras.Model(model.input, position_layer(model).output)
    image = np.zeros((1, 8, 12, 3), np.float32)
    before = embed_patches(image).numpy()
    image[0, 0:4, 4:8] = 1
    difference = np.abs(embed_patches(image).numpy() - before).sum(axis=2)[0]
    assert (difference > 0).tolist() == [False, True, False, False, False, False]


def test_outputs_depend_on_patch_order_through_position_embeddings_only() -> None:
    """Without position embeddings, the mean over the patches does not depend on their order."""
    model = build()
    image = np.random.default_rng(0).random((1, 8, 12, 3), np.float32)
    assert not np.allclose(model(image), model(np.roll(image, 4, axis=2)), atol=1e-6)
    embedding = position_layer(model).embedding
    embedding.assign(tf.zeros_like(embedding))
    np.testing.assert_allclose(model(image), model(np.roll(image, 4, axis=2)), atol=1e-5)


def test_vit_drops_in_training_only() -> None:
    model = build(dropout=0.5)
    image = np.ones((1, 8, 12, 3), np.float32)
    assert not np.allclose(model(image, training=True), model(image, training=True))
    np.testing.assert_array_equal(model(image, training=False), model(image, training=False))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": 3}, "`model.patch_size` 3 does not divide the image size, 8x12"),
        ({"patch_size": 8}, "`model.patch_size` 8 does not divide"),
        ({"width": 10, "heads": 4}, "`model.width` must be a multiple of `model.heads`; found 10 and 4"),
    ],
)
def test_indivisible_sizes_are_an_error(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(TfloopError, match=message) as caught:
        build(**arguments)
    assert caught.value.code == ExitCode.USAGE


def test_vit_learns_and_rerun_is_bitwise_equal(trainer, assert_bitwise_equal) -> None:
    model = {"name": "vit", "width": 8, "depth": 1, "heads": 2, "dropout": 0.1}
    runs = [trainer(model=model, optimizer={"name": "adam", "learning_rate": 0.01}, epochs=10) for _ in range(2)]
    first, *_, last = runs[0].fit()
    assert last.train["loss"] < first.train["loss"] - 0.2
    runs[1].fit()
    assert_bitwise_equal(runs[0].everything(), runs[1].everything())
