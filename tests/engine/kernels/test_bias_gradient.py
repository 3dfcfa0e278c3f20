"""The gradient of a bias as a matrix product equals TensorFlow's within rounding."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from tfloop_cli.engine.kernels import bias_gradient, original_implementations

SHAPES = {"rows": (5, 4), "sequences": (2, 3, 4), "images": (2, 3, 3, 4), "volumes": (2, 2, 2, 3, 4)}


def differentiate(inputs: np.ndarray, bias: np.ndarray) -> tuple[list[np.ndarray], set[str]]:
    """Returns the gradients of `bias_add`, and the types of the operations that compute them."""

    @tf.function
    def run(*tensors: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = tf.nn.bias_add(*tensors)
            weights = tf.random.stateless_normal(tf.shape(outputs), [1, 2], dtype=outputs.dtype)
            loss = tf.reduce_sum(outputs * weights)
        return tape.gradient(loss, tensors)

    tensors = tf.constant(inputs), tf.constant(bias)
    graph = run.get_concrete_function(*tensors).graph
    return [gradient.numpy() for gradient in run(*tensors)], {one.type for one in graph.get_operations()}


@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_equal_tensorflow(case: str, dtype: str) -> None:
    random = np.random.default_rng(0)
    arrays = [random.normal(size=shape).astype(dtype) for shape in (SHAPES[case], (4,))]
    fast, operations = differentiate(*arrays)
    with original_implementations():
        original, original_operations = differentiate(*arrays)
    assert ("MatMul" in operations) == ("BiasAddGrad" not in operations) == (case != "rows")
    assert "BiasAddGrad" in original_operations
    for got, expected in zip(fast, original, strict=True):
        assert got.dtype == expected.dtype == dtype
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(512, 4), (8, 64, 4), (2, 16, 16, 4)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_summed_in_float32(shape: tuple[int, ...], dtype: str) -> None:
    @tf.function
    def gradient(bias: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(bias)
            outputs = tf.nn.bias_add(tf.zeros(shape, dtype), bias)
        return tape.gradient(outputs, bias)

    # A sum in bfloat16 stops at 256.
    np.testing.assert_array_equal(tf.cast(gradient(tf.zeros(4, dtype)), "float32"), [512] * 4)


def test_other_place_of_tensorflow_gradients_gives_no_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "gradient_registry", object())
    assert bias_gradient.find_patches() == ()
