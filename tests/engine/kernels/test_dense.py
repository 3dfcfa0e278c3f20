"""Dense layers with many inputs and few units as products of transposed weights equal Keras' within rounding."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from comparison import BATCH, assert_close, compare_with_original, operations, random_tensor

from tfloop_cli.engine.kernels import original_implementations
from tfloop_cli.engine.kernels.native import MAX_UNITS, MIN_INPUTS


def uses_transposed_product(layer: keras.layers.Layer, shape: tuple[int | None, ...]) -> bool:
    return "Transpose" in operations(layer, tf.TensorSpec(shape, layer.compute_dtype))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("units", "options"), [(MAX_UNITS, {}), (1, {"use_bias": False}), (10, {"activation": "softmax"})]
)
def test_outputs_and_gradients_equal_keras(units: int, options: dict, dtype: str) -> None:
    # Small inputs, because large ones saturate softmax: its gradients would be 0.
    inputs = random_tensor(dtype, (BATCH, MIN_INPUTS)) / MIN_INPUTS
    fast, original, fast_operations, original_operations = compare_with_original(
        lambda: keras.layers.Dense(units, dtype=dtype, **options), inputs
    )
    assert "Transpose" in fast_operations
    assert "Transpose" not in original_operations
    assert np.abs(fast[-1]).max() > 0
    assert_close(fast, original, dtype)


def test_bfloat16_outputs_equal_keras_within_rounding() -> None:
    layer, inputs = keras.layers.Dense(10, dtype="mixed_bfloat16"), random_tensor("float32", (BATCH, MIN_INPUTS))
    fast = layer(inputs)
    with original_implementations():
        original = layer(inputs)
    assert uses_transposed_product(layer, (BATCH, MIN_INPUTS))
    assert fast.dtype == original.dtype == "bfloat16"
    fast, original = (tf.cast(outputs, "float32").numpy() for outputs in (fast, original))
    np.testing.assert_allclose(fast, original, atol=2**-7 * np.abs(original).max())


@pytest.mark.parametrize(
    ("units", "shape", "expected"),
    [
        (MAX_UNITS, (BATCH, MIN_INPUTS), True),
        (MAX_UNITS, (None, MIN_INPUTS), True),
        (MAX_UNITS + 1, (BATCH, MIN_INPUTS), False),
        (MAX_UNITS, (BATCH, MIN_INPUTS - 1), False),
        (MAX_UNITS, (BATCH, 2, MIN_INPUTS), False),
    ],
)
def test_transposed_product_needs_many_inputs_few_units_and_two_axes(
    units: int, shape: tuple[int | None, ...], expected: bool
) -> None:
    layer = keras.layers.Dense(units)
    layer.build(shape)
    assert uses_transposed_product(layer, shape) == expected


def test_sparse_inputs_use_keras() -> None:
    layer, inputs = keras.layers.Dense(MAX_UNITS), tf.sparse.from_dense(tf.eye(BATCH, MIN_INPUTS))
    outputs = layer(inputs)
    with original_implementations():
        np.testing.assert_array_equal(outputs, layer(inputs))
