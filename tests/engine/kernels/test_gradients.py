"""Gradients by another kernel: TensorFlow's own numbers."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from tfloop_cli.engine.kernels import gradients
from tfloop_cli.engine.kernels.replacing import as_it_was

REPLACED = ("BiasAdd", "MatMul")


@pytest.fixture(autouse=True)
def installed(machine: None) -> None:
    gradients.prefer_fast_gradients()


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


@pytest.mark.parametrize("name", REPLACED)
def test_it_is_what_tensorflow_takes(name: str) -> None:
    ours = ops.gradient_registry.lookup(name)
    gradients.prefer_fast_gradients()  # once more: it must not take itself for TensorFlow's
    assert ops.gradient_registry.lookup(name) is ours
    with as_it_was():
        assert ops.gradient_registry.lookup(name) is ours.own
    assert not hasattr(ours.own, "own")


CASES = {
    "bias of rows": (tf.nn.bias_add, (5, 4), (4,)),
    "bias of a line": (tf.nn.bias_add, (2, 3, 4), (4,)),
    "bias of an image": (tf.nn.bias_add, (2, 3, 3, 4), (4,)),
    "bias of a volume": (tf.nn.bias_add, (2, 2, 2, 3, 4), (4,)),
    "tall and narrow": (tf.matmul, (3, gradients.TALL), (gradients.TALL, gradients.NARROW)),
    "tall and one": (tf.matmul, (3, gradients.TALL), (gradients.TALL, 1)),
    "wide": (tf.matmul, (3, 5), (5, 40)),
    "transposed": (lambda a, b: tf.matmul(a, b, transpose_b=True), (3, gradients.TALL), (2, gradients.TALL)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_is_tensorflows_own(case: str, dtype: str) -> None:
    random = np.random.default_rng(0)
    call, *shapes = CASES[case]
    arrays = [random.normal(size=shape).astype(dtype) for shape in shapes]
    ours = gradients_of(call, *arrays)
    with as_it_was():
        theirs = gradients_of(call, *arrays)
    for got, expected in zip(ours, theirs, strict=True):
        assert got.dtype == expected.dtype == dtype
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("rows", "columns", "transposed"), [(gradients.TALL, gradients.NARROW, True), (4000, 2, False), (8192, 17, False)]
)
def test_only_tall_narrow_weights_are_learned_another_way(rows: int, columns: int, transposed: bool) -> None:
    with tf.Graph().as_default() as graph:
        weights = tf.zeros([rows, columns])
        tf.gradients(tf.matmul(tf.zeros([2, rows]), weights), weights)
    assert ("Transpose" in {op.type for op in graph.get_operations()}) == transposed


def test_where_tensorflow_keeps_it_elsewhere_nothing_changes(monkeypatch) -> None:
    monkeypatch.setattr(ops, "gradient_registry", object())
    gradients.prefer_fast_gradients()
