"""Attention, layer norm and gelu by fast operations: Keras' numbers and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from comparing import BATCH, PLACES, WIDTH, both, derived, same, sequences

from tfloop_cli.engine.kernels.patching import original_implementations
from tfloop_cli.engine.kernels.transformers import _summed_axes

PROJECTION = {"equation": "abc,cde->abde", "output_shape": (None, 2, 4)}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({**PROJECTION, "bias_axes": "de"}, (BATCH, PLACES, WIDTH)),
        (PROJECTION, (BATCH, PLACES, WIDTH)),
        ({**PROJECTION, "bias_axes": "e"}, (BATCH, PLACES, WIDTH)),
        ({**PROJECTION, "bias_axes": "de", "activation": "gelu"}, (BATCH, PLACES, WIDTH)),
        ({"equation": "abcd,cde->abe", "output_shape": (None, 6), "bias_axes": "e"}, (BATCH, PLACES, 2, 4)),
        ({"equation": "ab,bc->ac", "output_shape": 6}, (BATCH, WIDTH)),
    ],
)
def test_a_dense_layer_of_more_axes_is_one_product(options: dict, shape: tuple[int, ...], dtype: str) -> None:
    make = lambda: keras.layers.EinsumDense(**options, dtype=dtype)  # noqa: E731
    ours, theirs, kinds, own_kinds = both(make, sequences(dtype, shape))
    assert "Einsum" in own_kinds or "BatchMatMulV2" in own_kinds or "ab,bc" in options["equation"]
    assert "MatMul" in kinds
    assert not kinds & {"Einsum", "BatchMatMulV2"}
    same(ours, theirs, dtype)


@pytest.mark.parametrize(
    ("equation", "summed"),
    [
        ("abc,cde->abde", 1),
        ("abcd,cde->abe", 2),
        ("abc, cd -> abd", 1),
        ("...x,xy->...y", 0),
        ("abc,bcd->abd", 0),  # an axis that is summed and one that is not
        ("abc,cd->adb", 0),
        ("abc,dc->abd", 0),
        ("abc,ad->abcd", 0),
        ("abc,de->abcde", 0),
        ("aac,cd->aad", 0),
    ],
)
def test_which_equations_are_products(equation: str, summed: int) -> None:
    assert _summed_axes(equation) == summed


@pytest.mark.parametrize(("equation", "outputs"), [("abc,bcd->abd", (PLACES, 6)), ("abc,cd->adb", (6, PLACES))])
def test_another_equation_is_left_to_keras(equation: str, outputs: tuple[int, ...]) -> None:
    layer, inputs = keras.layers.EinsumDense(equation, outputs), sequences("float32")
    ours = layer(inputs)
    with original_implementations():
        np.testing.assert_array_equal(ours, layer(inputs))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("options", [{}, {"value_dim": 3}, {"use_bias": False}])
def test_attention_is_keras(options: dict, dtype: str) -> None:
    make = lambda: keras.layers.MultiHeadAttention(2, 3, **options, dtype=dtype)  # noqa: E731
    ours, theirs, kinds, own_kinds = both(make, sequences(dtype), lambda layer, inputs: layer(inputs, inputs))
    assert "Einsum" in own_kinds
    assert "Einsum" not in kinds
    same(ours, theirs, dtype)


def test_attention_to_others_is_keras() -> None:
    others = sequences(shape=(BATCH, 7, 6))
    make = lambda: keras.layers.MultiHeadAttention(2, 3, dtype="float64")  # noqa: E731
    ours, theirs, kinds, _ = both(make, sequences(), lambda layer, inputs: layer(inputs, others[: tf.shape(inputs)[0]]))
    assert "Einsum" not in kinds
    same(ours, theirs)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, {"attention_mask": np.tri(PLACES, dtype=bool)[None]}),
        ({}, {"use_causal_mask": True}),
        ({"dropout": 0.5}, {}),
        ({"dtype": "mixed_bfloat16"}, {}),
    ],
)
def test_attention_that_is_more_is_left_to_keras(options: dict, arguments: dict) -> None:
    inputs = sequences("bfloat16" if options.get("dtype") else "float32")
    layer = keras.layers.MultiHeadAttention(2, 3, **options)
    layer(inputs, inputs)

    def attended() -> np.ndarray:
        for number, seeds in enumerate(layer.non_trainable_variables):
            seeds.assign([number, 7])
        return tf.cast(layer(inputs, inputs, training=True, **arguments), "float32").numpy()

    with original_implementations(keras.layers.MultiHeadAttention):
        expected = attended()
    np.testing.assert_array_equal(attended(), expected)


def test_scores_are_given_where_they_are_asked_for() -> None:
    layer, inputs = keras.layers.MultiHeadAttention(2, 3), sequences("float32")
    _, scores = layer(inputs, inputs, return_attention_scores=True)
    np.testing.assert_allclose(tf.reduce_sum(scores, -1), np.ones((BATCH, 2, PLACES)), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"axis": 2, "epsilon": 0.1}])
def test_layer_norm_is_keras(options: dict, dtype: str) -> None:
    ours, theirs, *_ = both(lambda: keras.layers.LayerNormalization(**options, dtype=dtype), sequences(dtype))
    same(ours, theirs, dtype)


@pytest.mark.parametrize(
    ("options", "dtype"), [({"axis": 1}, "float32"), ({"axis": [1, 2]}, "float32"), ({}, "float16")]
)
def test_another_layer_norm_is_left_to_keras(options: dict, dtype: str) -> None:
    layer, inputs = keras.layers.LayerNormalization(**options, dtype=dtype), sequences(dtype)
    ours = layer(inputs)
    with original_implementations():
        np.testing.assert_array_equal(ours, layer(inputs))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gelu_is_tensorflows(dtype: str) -> None:
    inputs = tf.constant(np.linspace(-40, 40, 999), dtype)
    ours, _ = derived(tf.nn.gelu, inputs, [])
    with original_implementations():
        theirs, _ = derived(tf.nn.gelu, inputs, [])
    same(ours, theirs, dtype)


@pytest.mark.parametrize(("dtype", "approximate"), [("float32", True), ("bfloat16", False)])
def test_another_gelu_is_left_to_tensorflow(dtype: str, approximate: bool) -> None:
    ours = tf.nn.gelu(sequences(dtype), approximate=approximate)
    with original_implementations():
        expected = tf.nn.gelu(sequences(dtype), approximate=approximate)
    np.testing.assert_array_equal(tf.cast(ours, "float64"), tf.cast(expected, "float64"))
