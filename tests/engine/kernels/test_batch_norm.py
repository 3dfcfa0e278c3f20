"""Fused batch normalization equals Keras' within rounding."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from comparison import operations

from tfloop_cli.engine.kernels import original_implementations


def train(layer: keras.layers.BatchNormalization, inputs: tf.Tensor, **arguments) -> tuple[list[np.ndarray], bool]:
    """Runs two training steps; returns outputs, gradients and variables, and whether the fused operation was used."""

    def step(inputs: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True, **arguments)
            weights = tf.cast(tf.random.stateless_normal(tf.shape(outputs), [1, 2]), outputs.dtype)
            loss = tf.reduce_sum(tf.square(outputs) * weights)
        gradients = tape.gradient(loss, [inputs, *layer.trainable_variables])
        return [outputs, *gradients]

    run = tf.function(step)
    results = [*run(inputs), *run(inputs * 2)]
    arrays = [tf.cast(array, tf.float64).numpy() for array in (*results, *layer.variables)]
    return arrays, "FusedBatchNormV3" in operations(step, inputs)


def train_both(make_layer: Callable, inputs: tf.Tensor, **arguments) -> tuple[list[np.ndarray], list[np.ndarray], bool]:
    """Returns the results of `train` with fast kernels, those of Keras, and whether the fused operation was used."""
    fast, fused = train(make_layer(), inputs, **arguments)
    with original_implementations(keras.layers.BatchNormalization):
        original, _ = train(make_layer(), inputs, **arguments)
    return fast, original, fused


def images(dtype: str = "float32", shape: tuple[int, ...] = (6, 5, 4, 16)) -> tf.Tensor:
    return tf.cast(tf.constant(np.random.default_rng(0).normal(3, 2, shape)), dtype)


@pytest.mark.parametrize(
    "options", [{}, {"scale": False}, {"center": False}, {"momentum": 0.5, "epsilon": 1e-5}, {"axis": 3}]
)
def test_outputs_gradients_and_moving_statistics_equal_keras(options: dict) -> None:
    fast, original, fused = train_both(lambda: keras.layers.BatchNormalization(**options), images())
    assert fused
    for got, expected in zip(fast, original, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_moving_statistics_of_bfloat16_layer_are_float32() -> None:
    fast, original, fused = train_both(
        lambda: keras.layers.BatchNormalization(dtype="mixed_bfloat16"), images("bfloat16")
    )
    assert fused
    for got, expected in zip(fast, original, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0.05, atol=0.3)
    for got, expected in zip(fast[-2:], original[-2:], strict=True):  # the moving statistics
        np.testing.assert_allclose(got, expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "inputs", "arguments"),
    [
        ({}, {"shape": (6, 16)}, {}),
        *(({}, {"shape": (6, 5, 4, channels)}, {}) for channels in (1, 3, 12)),
        ({"dtype": "mixed_bfloat16"}, {"dtype": "bfloat16", "shape": (6, 5, 4, 8)}, {}),
        ({}, {"shape": (6, 4, 16)}, {}),
        ({"dtype": "float64"}, {"dtype": "float64"}, {}),
        ({"dtype": "mixed_float16"}, {"dtype": "float16"}, {}),
        ({"axis": 1}, {}, {}),
        ({"trainable": False}, {}, {}),
        ({"renorm": True}, {}, {}),
        ({}, {}, {"mask": np.ones((6, 5, 4), bool)}),
    ],
)
def test_unsupported_batch_norm_uses_keras(options: dict, inputs: dict, arguments: dict) -> None:
    fast, original, fused = train_both(
        lambda: keras.layers.BatchNormalization(**options), images(**inputs), **arguments
    )
    assert not fused
    for got, expected in zip(fast, original, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_inference_uses_keras() -> None:
    layer, inputs = keras.layers.BatchNormalization(), images()
    layer(inputs, training=True)
    assert "FusedBatchNormV3" not in operations(lambda inputs: layer(inputs, training=False), inputs)


def test_second_derivatives_equal_those_of_keras_in_float64() -> None:
    def second_derivatives(dtype: str) -> np.ndarray:
        layer, inputs = keras.layers.BatchNormalization(dtype=dtype), images(dtype)
        layer.build(inputs.shape)
        layer.gamma.assign(tf.random.stateless_normal([16], [1, 2]))

        @tf.function
        def run(inputs: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as outer:
                outer.watch(inputs)
                with tf.GradientTape() as inner:
                    inner.watch(inputs)
                    loss = tf.reduce_sum(layer(inputs, training=True) ** 3)
                squares = tf.reduce_sum(inner.gradient(loss, inputs) ** 2)
            return outer.gradient(squares, inputs)

        return run(inputs).numpy()

    expected = second_derivatives("float64")
    np.testing.assert_allclose(second_derivatives("float32"), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_unknown_height_and_width_equal_keras() -> None:
    layer, inputs = keras.layers.BatchNormalization(), images()
    layer.build(inputs.shape)
    run = tf.function(
        lambda inputs: layer(inputs, training=True), input_signature=[tf.TensorSpec([None, None, None, 16])]
    )
    outputs = run(inputs)
    with original_implementations():
        np.testing.assert_allclose(outputs, layer(inputs, training=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [[None, None, None, None], None], ids=["channels", "rank"])
@pytest.mark.parametrize("name", ["BatchNormalization", "LayerNormalization", "EinsumDense", "Dense", "Conv2D"])
def test_unknown_static_shape_equals_keras(name: str, shape: list[None] | None) -> None:
    arguments = {"EinsumDense": ("abcd,de->abce", (None, None, 4)), "Dense": (4,), "Conv2D": (4, 3)}.get(name, ())
    layer, inputs = getattr(keras.layers, name)(*arguments), images()
    layer.build(inputs.shape)
    calls = {"training": True} if name == "BatchNormalization" else {}

    def run() -> tf.Tensor:
        unknown = tf.raw_ops.PlaceholderWithDefault(input=inputs, shape=tf.TensorShape(shape))
        return layer(unknown, **calls)

    try:
        with original_implementations():
            expected = tf.function(run)()
    except (TypeError, ValueError):
        pytest.skip("not supported by Keras")
    np.testing.assert_allclose(tf.function(run)(), expected, rtol=1e-5, atol=1e-5)
