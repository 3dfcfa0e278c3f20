"""The gradient of biases as a product: TensorFlow's own numbers."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from tfloop_cli.engine.kernels import bias_gradient
from tfloop_cli.engine.kernels.patching import original_implementations


def gradients_of(call, *arrays: np.ndarray) -> list[np.ndarray]:
    """Of a sum of the call's output, each place with a weight of its own."""

    @tf.function
    def run(*inputs: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            output = call(*inputs)
            weight = tf.random.stateless_normal(tf.shape(output), [1, 2], dtype=output.dtype)
            loss = tf.reduce_sum(output * weight)
        return tape.gradient(loss, inputs)

    return [gradient.numpy() for gradient in run(*map(tf.constant, arrays))]


CASES = {
    "bias of rows": (tf.nn.bias_add, (5, 4), (4,)),
    "bias of a line": (tf.nn.bias_add, (2, 3, 4), (4,)),
    "bias of an image": (tf.nn.bias_add, (2, 3, 3, 4), (4,)),
    "bias of a volume": (tf.nn.bias_add, (2, 2, 2, 3, 4), (4,)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_is_tensorflows_own(case: str, dtype: str) -> None:
    random = np.random.default_rng(0)
    call, *shapes = CASES[case]
    arrays = [random.normal(size=shape).astype(dtype) for shape in shapes]
    ours = gradients_of(call, *arrays)
    with original_implementations():
        theirs = gradients_of(call, *arrays)
    for got, expected in zip(ours, theirs, strict=True):
        assert got.dtype == expected.dtype == dtype
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def test_where_tensorflow_keeps_it_elsewhere_nothing_changes(monkeypatch) -> None:
    monkeypatch.setattr(ops, "gradient_registry", object())
    assert bias_gradient.find_patches() == ()
