"""Gradients by another kernel: TensorFlow's own numbers."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from tfloop_cli.engine import gradients


@pytest.fixture(autouse=True)
def installed(machine: None) -> None:
    gradients.prefer_fast_bias_gradient()


def registered():
    return ops.gradient_registry.lookup("BiasAdd")


def gradients_of(inputs: np.ndarray, bias: np.ndarray, weight: np.ndarray) -> list[np.ndarray]:
    @tf.function
    def run(inputs: tf.Tensor, bias: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch((inputs, bias))
            loss = tf.reduce_sum(tf.nn.bias_add(inputs, bias) * weight)
        return tape.gradient(loss, [inputs, bias])

    return [gradient.numpy() for gradient in run(tf.constant(inputs), tf.constant(bias))]


def test_it_is_what_tensorflow_takes() -> None:
    assert registered() is gradients._fast_bias_gradient
    gradients.prefer_fast_bias_gradient()  # once more: it must not take itself for TensorFlow's
    assert gradients._fast_bias_gradient.tensorflow is not gradients._fast_bias_gradient


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 4), (2, 3, 3, 4), (2, 2, 2, 3, 4)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_is_tensorflows_own(monkeypatch, shape: tuple[int, ...], dtype: str) -> None:
    random = np.random.default_rng(0)
    arrays = [random.normal(size=size).astype(dtype) for size in (shape, shape[-1:], shape)]
    ours = gradients_of(*arrays)
    monkeypatch.setitem(ops.gradient_registry._registry["BiasAdd"], "type", gradients._fast_bias_gradient.tensorflow)
    theirs = gradients_of(*arrays)
    assert registered() is gradients._fast_bias_gradient.tensorflow
    for got, expected in zip(ours, theirs, strict=True):
        assert got.dtype == expected.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=1e-5 if dtype == "float32" else 1e-12)


def test_where_tensorflow_keeps_it_elsewhere_nothing_changes(monkeypatch) -> None:
    monkeypatch.setattr(ops, "gradient_registry", object())
    gradients.prefer_fast_bias_gradient()
