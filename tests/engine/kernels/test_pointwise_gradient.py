"""The gradients of strided 1x1 convolutions equal TensorFlow's, and do not corrupt memory."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict

import keras
import numpy as np
import pytest
import tensorflow as tf
from comparison import random_tensor

from benchmarks.convolution_faults import Case
from tfloop_cli.engine.kernels import original_implementations, pointwise_gradient

ONE, TWO = (1, 1), (2, 2)
CRASHING = [  # with TensorFlow 2.21: most or all runs
    Case("Conv2D", "float32", (9, 28, 28, 8), 16, ONE, TWO, "same"),
    Case("Conv2D", "float32", (9, 10, 8, 9), 7, ONE, TWO, "valid"),
    Case("Conv2D", "float32", (33, 22, 21, 7), 17, ONE, (2, 1), "same"),
    Case("Conv2D", "float32", (9, 20, 9, 4), 9, ONE, (1, 3), "same"),
    Case("Conv2D", "bfloat16", (3, 21, 12, 9), 7, ONE, (3, 3), "valid"),
    Case("Conv2DTranspose", "float32", (9, 5, 4, 7), 9, ONE, TWO, "same"),
]
RUN_CASES = """
import json, sys
import keras
import tfloop_cli.engine.kernels
from benchmarks.convolution_faults import Case, crash
for case in json.load(sys.stdin):
    print(crash(Case(**{name: tuple(value) if isinstance(value, list) else value for name, value in case.items()}),
                replaced=len(sys.argv) == 1))
"""


def crashes(cases: list[Case], *options: str) -> list[str]:
    """Returns, for each case, the name of the signal that ended its process, or "None"."""
    command = [sys.executable, "-c", RUN_CASES, *options]
    environment = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    text = json.dumps([asdict(case) for case in cases])
    return subprocess.run(
        command, input=text, env=environment, capture_output=True, text=True, check=True
    ).stdout.split()


def test_shapes_that_crash_in_tensorflow_do_not_crash() -> None:
    assert crashes(CRASHING) == ["None"] * len(CRASHING)


def gradients(call: Callable, inputs: tf.Tensor, filters: tf.Tensor) -> tuple[list[np.ndarray], list[list[int]]]:
    """Returns the gradients of a convolution, and the strides of the operations that compute those of the filters."""

    @tf.function(input_signature=[tf.TensorSpec([None, *inputs.shape[1:]], inputs.dtype)])
    def run(inputs: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([inputs, filters])
            loss = tf.reduce_sum(tf.square(call(inputs, filters)))
        return tape.gradient(loss, [inputs, filters])

    operations = run.get_concrete_function().graph.get_operations()
    strides = [one.get_attr("strides") for one in operations if one.type == "Conv2DBackpropFilter"]
    return [array.numpy() for array in run(inputs)], strides


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("strides", "shape"),
    [((2, 2), (2, 8, 8, 4)), ((2, 2), (2, 7, 9, 4)), ((3, 1), (2, 8, 5, 4))],
)
def test_gradients_equal_tensorflow(strides: tuple[int, int], shape: tuple[int, ...], padding: str) -> None:
    inputs, filters = random_tensor("float64", shape), random_tensor("float64", (1, 1, 4, 6))  # float64: no oneDNN

    def call(inputs: tf.Tensor, filters: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(inputs, filters, strides, padding)

    fast, fast_strides = gradients(call, inputs, filters)
    with original_implementations():
        original, original_strides = gradients(call, inputs, filters)
    assert (fast_strides, original_strides) == ([[1, 1, 1, 1]], [[1, *strides, 1]])
    for got, expected in zip(fast, original, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_gradients_of_transposed_convolution_equal_tensorflow() -> None:
    inputs, filters = random_tensor("float64", (2, 4, 4, 6)), random_tensor("float64", (1, 1, 3, 6))

    def call(inputs: tf.Tensor, filters: tf.Tensor) -> tf.Tensor:
        return keras.ops.conv_transpose(inputs, filters, strides=2, padding="valid")

    fast, fast_strides = gradients(call, inputs, filters)
    with original_implementations():
        original, _ = gradients(call, inputs, filters)
    assert fast_strides == [[1, 1, 1, 1]]
    for got, expected in zip(fast, original, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "strides", "padding"),
    [((3, 3), 2, "SAME"), ((1, 2), 2, "SAME"), ((1, 1), 1, "SAME"), ((1, 1), 2, [[0, 0], [1, 1], [0, 0], [0, 0]])],
)
def test_other_convolutions_are_unchanged(kernel: tuple[int, int], strides: int, padding: str | list) -> None:
    inputs, filters = random_tensor("float32", (2, 6, 6, 3)), random_tensor("float32", (*kernel, 3, 4))
    _, used = gradients(lambda inputs, filters: tf.nn.conv2d(inputs, filters, strides, padding), inputs, filters)
    assert used == [[1, strides, strides, 1]]


def test_other_place_of_tensorflow_function_gives_no_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointwise_gradient, "gen_nn_ops", object())
    assert pointwise_gradient.find_patches() == ()
