"""Batch norm in one kernel: Keras' numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.kernels.patching import original_implementations


def trained(layer: keras.layers.BatchNormalization, inputs: np.ndarray, **arguments) -> tuple[list[np.ndarray], bool]:
    """Two training steps: outputs, gradients and averages; whether the kernel computed them."""

    @tf.function
    def step(inputs: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True, **arguments)
            weights = tf.cast(tf.random.stateless_normal(tf.shape(outputs), [1, 2]), outputs.dtype)
            loss = tf.reduce_sum(tf.square(outputs) * weights)
        gradients = tape.gradient(loss, [inputs, *layer.trainable_variables])
        return [outputs, *gradients]

    results = [*step(inputs), *step(inputs * 2)]
    kernels = {op.type for op in step.get_concrete_function(inputs).graph.get_operations()}
    arrays = [tf.cast(array, tf.float64).numpy() for array in (*results, *layer.variables)]
    return arrays, "FusedBatchNormV3" in kernels


def both(make, inputs: tf.Tensor, **arguments) -> tuple[list[np.ndarray], list[np.ndarray], bool]:
    ours, fused = trained(make(), inputs, **arguments)
    with original_implementations(keras.layers.BatchNormalization):
        theirs, _ = trained(make(), inputs, **arguments)
    return ours, theirs, fused


def images(dtype: str = "float32", shape: tuple[int, ...] = (6, 5, 4, 3)) -> tf.Tensor:
    return tf.cast(tf.constant(np.random.default_rng(0).normal(3, 2, shape)), dtype)


@pytest.mark.parametrize(
    "options", [{}, {"scale": False}, {"center": False}, {"momentum": 0.5, "epsilon": 1e-5}, {"axis": 3}]
)
def test_numbers_gradients_and_averages_are_keras(options: dict) -> None:
    ours, theirs, fused = both(lambda: keras.layers.BatchNormalization(**options), images())
    assert fused
    for got, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_in_bfloat16_the_averages_are_float32() -> None:
    ours, theirs, fused = both(lambda: keras.layers.BatchNormalization(dtype="mixed_bfloat16"), images("bfloat16"))
    assert fused
    for got, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0.05, atol=0.3)
    for got, expected in zip(ours[-2:], theirs[-2:], strict=True):  # the averages
        np.testing.assert_allclose(got, expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "inputs", "arguments"),
    [
        ({}, {"shape": (6, 3)}, {}),
        ({}, {"shape": (6, 4, 3)}, {}),
        ({"dtype": "float64"}, {"dtype": "float64"}, {}),
        ({"dtype": "mixed_float16"}, {"dtype": "float16"}, {}),
        ({"axis": 1}, {}, {}),
        ({"trainable": False}, {}, {}),
        ({"renorm": True}, {}, {}),
        ({}, {}, {"mask": np.ones((6, 5, 4), bool)}),
    ],
)
def test_what_the_kernel_does_not_do_is_left_to_keras(options: dict, inputs: dict, arguments: dict) -> None:
    ours, theirs, fused = both(lambda: keras.layers.BatchNormalization(**options), images(**inputs), **arguments)
    assert not fused
    for got, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_what_is_scored_is_left_to_keras() -> None:
    layer, inputs = keras.layers.BatchNormalization(), images()
    layer(inputs, training=True)
    graph = tf.function(lambda x: layer(x, training=False)).get_concrete_function(inputs).graph
    assert "FusedBatchNormV3" not in {op.type for op in graph.get_operations()}
