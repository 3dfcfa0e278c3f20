"""Fast attention, layer normalization and gelu equal Keras' within rounding, gradients included."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from comparison import (
    BATCH,
    DIMENSION,
    POSITIONS,
    assert_close,
    compare_with_original,
    differentiate,
    random_tensor,
)

from tfloop_cli.engine.kernels import original_implementations
from tfloop_cli.engine.kernels.transformers import _summed_axes

PROJECTION = {"equation": "abc,cde->abde", "output_shape": (None, 2, 4)}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({**PROJECTION, "bias_axes": "de"}, (BATCH, POSITIONS, DIMENSION)),
        (PROJECTION, (BATCH, POSITIONS, DIMENSION)),
        ({**PROJECTION, "bias_axes": "e"}, (BATCH, POSITIONS, DIMENSION)),
        ({**PROJECTION, "bias_axes": "de", "activation": "gelu"}, (BATCH, POSITIONS, DIMENSION)),
        ({"equation": "abcd,cde->abe", "output_shape": (None, 6), "bias_axes": "e"}, (BATCH, POSITIONS, 2, 4)),
        ({"equation": "ab,bc->ac", "output_shape": 6}, (BATCH, DIMENSION)),
    ],
)
def test_einsum_dense_is_one_matrix_product(options: dict, shape: tuple[int, ...], dtype: str) -> None:
    fast, original, fast_operations, original_operations = compare_with_original(
        lambda: keras.layers.EinsumDense(**options, dtype=dtype), random_tensor(dtype, shape)
    )
    assert original_operations & {"Einsum", "BatchMatMulV2"} or "ab,bc" in options["equation"]
    assert "MatMul" in fast_operations
    assert not fast_operations & {"Einsum", "BatchMatMulV2"}
    assert_close(fast, original, dtype)


@pytest.mark.parametrize(
    ("equation", "summed"),
    [
        ("abc,cde->abde", 1),
        ("abcd,cde->abe", 2),
        ("abc, cd -> abd", 1),
        ("...x,xy->...y", 0),
        ("abc,bcd->abd", 0),  # one axis is summed, and one is not
        ("abc,cd->adb", 0),
        ("abc,dc->abd", 0),
        ("abc,ad->abcd", 0),
        ("abc,de->abcde", 0),
        ("aac,cd->aad", 0),
    ],
)
def test_summed_axes_of_equation(equation: str, summed: int) -> None:
    assert _summed_axes(equation) == summed


@pytest.mark.parametrize(
    ("equation", "output_shape"), [("abc,bcd->abd", (POSITIONS, 6)), ("abc,cd->adb", (6, POSITIONS))]
)
def test_unsupported_equation_uses_keras(equation: str, output_shape: tuple[int, ...]) -> None:
    layer, inputs = keras.layers.EinsumDense(equation, output_shape), random_tensor("float32")
    outputs = layer(inputs)
    with original_implementations():
        np.testing.assert_array_equal(outputs, layer(inputs))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("options", [{}, {"value_dim": 3}, {"use_bias": False}])
def test_self_attention_equals_keras(options: dict, dtype: str) -> None:
    fast, original, fast_operations, original_operations = compare_with_original(
        lambda: keras.layers.MultiHeadAttention(2, 3, **options, dtype=dtype),
        random_tensor(dtype),
        lambda layer, inputs: layer(inputs, inputs),
    )
    assert "Einsum" in original_operations
    assert "Einsum" not in fast_operations
    assert_close(fast, original, dtype)


def test_cross_attention_equals_keras() -> None:
    others = random_tensor(shape=(BATCH, 7, 6))
    fast, original, fast_operations, _ = compare_with_original(
        lambda: keras.layers.MultiHeadAttention(2, 3, dtype="float64"),
        random_tensor(),
        lambda layer, inputs: layer(inputs, others[: tf.shape(inputs)[0]]),
    )
    assert "Einsum" not in fast_operations
    assert_close(fast, original)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, {"attention_mask": np.tri(POSITIONS, dtype=bool)[None]}),
        ({}, {"use_causal_mask": True}),
        ({"dropout": 0.5}, {}),
        ({"dtype": "mixed_bfloat16"}, {}),
    ],
)
def test_unsupported_attention_uses_keras(options: dict, arguments: dict) -> None:
    inputs = random_tensor("bfloat16" if options.get("dtype") else "float32")
    layer = keras.layers.MultiHeadAttention(2, 3, **options)
    layer(inputs, inputs)

    def attend() -> np.ndarray:
        for number, seed in enumerate(layer.non_trainable_variables):
            seed.assign([number, 7])
        return tf.cast(layer(inputs, inputs, training=True, **arguments), "float32").numpy()

    with original_implementations(keras.layers.MultiHeadAttention):
        expected = attend()
    np.testing.assert_array_equal(attend(), expected)


def test_attention_returns_scores() -> None:
    layer, inputs = keras.layers.MultiHeadAttention(2, 3), random_tensor("float32")
    _, scores = layer(inputs, inputs, return_attention_scores=True)
    np.testing.assert_allclose(tf.reduce_sum(scores, -1), np.ones((BATCH, 2, POSITIONS)), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"axis": 2, "epsilon": 0.1}])
def test_layer_norm_equals_keras(options: dict, dtype: str) -> None:
    fast, original, fast_operations, original_operations = compare_with_original(
        lambda: keras.layers.LayerNormalization(**options, dtype=dtype), random_tensor(dtype)
    )
    assert "IdentityN" in fast_operations  # of a custom gradient
    assert "IdentityN" not in original_operations
    assert_close(fast, original, dtype)


@pytest.mark.parametrize(
    ("options", "dtype"), [({"axis": 1}, "float32"), ({"axis": [1, 2]}, "float32"), ({}, "float16")]
)
def test_unsupported_layer_norm_uses_keras(options: dict, dtype: str) -> None:
    layer, inputs = keras.layers.LayerNormalization(**options, dtype=dtype), random_tensor(dtype)
    outputs = layer(inputs)
    with original_implementations():
        np.testing.assert_array_equal(outputs, layer(inputs))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gelu_equals_tensorflow(dtype: str) -> None:
    inputs = tf.constant(np.linspace(-40, 40, 999), dtype)
    fast, fast_operations = differentiate(tf.nn.gelu, inputs, [])
    with original_implementations():
        original, original_operations = differentiate(tf.nn.gelu, inputs, [])
    assert "IdentityN" in fast_operations  # of a custom gradient
    assert "IdentityN" not in original_operations
    assert_close(fast, original, dtype)


@pytest.mark.parametrize(("dtype", "approximate"), [("float32", True), ("bfloat16", False)])
def test_unsupported_gelu_uses_tensorflow(dtype: str, approximate: bool) -> None:
    outputs = tf.nn.gelu(random_tensor(dtype), approximate=approximate)
    with original_implementations():
        expected = tf.nn.gelu(random_tensor(dtype), approximate=approximate)
    np.testing.assert_array_equal(tf.cast(outputs, "float64"), tf.cast(expected, "float64"))
