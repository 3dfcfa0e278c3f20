"""Tall, narrow dense layers by other products: Keras' numbers and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from comparing import BATCH, both, same, sequences

from tfloop_cli.engine.kernels.native import MAX_UNITS, MIN_INPUTS
from tfloop_cli.engine.kernels.patching import original_implementations


def is_ours(layer: keras.layers.Layer, *shape: int) -> bool:
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec(shape, layer.compute_dtype)).graph
    return "Transpose" in {op.type for op in graph.get_operations()}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("columns", "options"), [(MAX_UNITS, {}), (1, {"use_bias": False}), (10, {"activation": "softmax"})]
)
def test_it_is_keras(columns: int, options: dict, dtype: str) -> None:
    # Small numbers: what softmax makes of large ones has gradients that are 0.
    inputs = sequences(dtype, (BATCH, MIN_INPUTS)) / MIN_INPUTS
    ours, theirs, kinds, own_kinds = both(lambda: keras.layers.Dense(columns, dtype=dtype, **options), inputs)
    assert "Transpose" in kinds
    assert "Transpose" not in own_kinds
    assert np.abs(ours[-1]).max() > 0
    same(ours, theirs, dtype)


def test_half_precision_is_keras_within_a_rounding() -> None:
    layer, inputs = keras.layers.Dense(10, dtype="mixed_bfloat16"), sequences("float32", (BATCH, MIN_INPUTS))
    ours = layer(inputs)
    with original_implementations():
        theirs = layer(inputs)
    assert is_ours(layer, BATCH, MIN_INPUTS)
    assert ours.dtype == theirs.dtype == "bfloat16"
    ours, theirs = (tf.cast(outputs, "float32").numpy() for outputs in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, atol=2**-7 * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("columns", "shape", "ours"),
    [
        (MAX_UNITS, (BATCH, MIN_INPUTS), True),
        (MAX_UNITS, (None, MIN_INPUTS), True),
        (MAX_UNITS + 1, (BATCH, MIN_INPUTS), False),
        (MAX_UNITS, (BATCH, MIN_INPUTS - 1), False),
        (MAX_UNITS, (BATCH, 2, MIN_INPUTS), False),
    ],
)
def test_only_tall_narrow_weights_of_single_rows(columns: int, shape: tuple[int, ...], ours: bool) -> None:
    layer = keras.layers.Dense(columns)
    layer.build(shape)
    assert is_ours(layer, *shape) == ours


def test_sparse_inputs_are_left_to_keras() -> None:
    layer, inputs = keras.layers.Dense(MAX_UNITS), tf.sparse.from_dense(tf.eye(BATCH, MIN_INPUTS))
    ours = layer(inputs)
    with original_implementations():
        np.testing.assert_array_equal(ours, layer(inputs))
