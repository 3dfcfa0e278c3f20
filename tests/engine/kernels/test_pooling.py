"""Max pooling as a C++ operation equals that of TensorFlow bit for bit, also where values are equal."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from comparison import compare_with_original, operations

from tfloop_cli.engine.kernels import KernelSettings, native, original_implementations
from tfloop_cli.engine.kernels.pooling import max_pool

REASON = native.unavailable_reason()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

DTYPES = [
    pytest.param(name, marks=[] if name in native.dtypes() else pytest.mark.skip) for name in ("float32", "bfloat16")
]


@pytest.fixture(params=[1, 3], ids=["1 thread", "3 threads"])
def kernel_settings(request: pytest.FixtureRequest) -> KernelSettings:
    return KernelSettings(enabled=True, native_threads=request.param)


def images(*shape: int, dtype: str = "float32") -> tf.Tensor:
    """Normal values rounded to halves: windows have several maxima, and many are negative."""
    return tf.cast(np.round(2 * np.random.default_rng(0).normal(-0.5, 1, shape)) / 2, dtype)


def pool(inputs: tf.Tensor, padding: str = "valid", activation: Callable[..., tf.Tensor] | None = None) -> tf.Tensor:
    values = activation(inputs) if activation else inputs
    return keras.layers.MaxPooling2D(padding=padding, dtype=values.dtype)(values)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [None, tf.nn.relu, keras.activations.relu])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("shape", [(3, 8, 8, 16), (2, 9, 7, 5), (2, 5, 12, 40), (1, 2, 3, 1)], ids=str)
def test_equals_tensorflow(shape: tuple[int, ...], padding: str, activation: Callable, dtype: str) -> None:
    inputs = images(*shape, dtype=dtype)
    fast, original, names, original_names = compare_with_original(
        lambda: keras.layers.MaxPooling2D(padding=padding, dtype=dtype),
        inputs,
        lambda layer, values: layer(activation(values) if activation else values),
    )
    for got, expected in zip(fast, original, strict=True):  # outputs, gradient, gradient of the gradient
        np.testing.assert_array_equal(got, expected)
    assert "TfloopMaxPool" in names
    assert "MaxPool" in original_names


def test_gradient_of_relu_needs_no_outputs() -> None:
    def gradient(inputs: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = pool(inputs, activation=tf.nn.relu)
        return tape.gradient(outputs, inputs)

    assert {"TfloopMaxPoolGradient"} < operations(gradient, images(2, 6, 6, 3))
    assert "ReluGrad" not in operations(gradient, images(2, 6, 6, 3))


def test_other_uses_of_relus_outputs_count_too() -> None:
    def gradients(inputs: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            values = tf.nn.relu(inputs)
            tape.watch(values)
            loss = tf.reduce_sum(pool(values)) + 3 * tf.reduce_sum(pool(2 * values)) + tf.reduce_sum(values**2)
        return tape.gradient(loss, [inputs, values])

    inputs = images(2, 6, 6, 3)
    fast = tf.function(gradients)(inputs)
    with original_implementations():
        original = tf.function(gradients)(inputs)
    for got, expected in zip(fast, original, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_gradient_by_relus_outputs_is_not_masked() -> None:
    """Where all values of a window are 0, the first one has the gradient, as in TensorFlow."""

    @tf.function
    def gradient(inputs: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            values = tf.nn.relu(inputs)
            tape.watch(values)
            outputs = pool(values)
        return tape.gradient(outputs, values)

    inputs = tf.reshape(tf.constant([-1.0, -2, -3, -4]), [1, 2, 2, 1])
    assert gradient(inputs).numpy().ravel().tolist() == [1, 0, 0, 0]


def test_batch_without_examples() -> None:
    """TensorFlow's gradient ends the process."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 6, 8])])
    def gradient(inputs: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = pool(inputs, activation=tf.nn.relu)
        return tape.gradient(outputs, inputs)

    assert gradient(images(0, 4, 6, 8)).shape == (0, 4, 6, 8)


def test_nan_is_the_maximum() -> None:
    inputs = images(1, 4, 4, 3).numpy()
    inputs[0, 1, 0, 2] = np.nan
    outputs = max_pool(tf.constant(inputs), same=False).numpy()
    assert np.argwhere(np.isnan(outputs)).tolist() == [[0, 0, 0, 2]]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (keras.layers.MaxPooling2D(3), (2, 9, 9, 4)),
        (keras.layers.MaxPooling2D(2, strides=1), (2, 9, 9, 4)),
        (keras.layers.MaxPooling2D(dtype="float64"), (2, 8, 8, 4)),
    ],
)
def test_other_windows_are_those_of_tensorflow(layer: keras.Layer, shape: tuple[int, ...]) -> None:
    names = operations(lambda inputs: layer(inputs), tf.cast(images(*shape), layer.compute_dtype))
    assert "TfloopMaxPool" not in names


def test_forward_mode_derivative_equals_tensorflow() -> None:
    inputs, direction = images(2, 5, 6, 3), tf.cast(np.random.default_rng(1).normal(size=(2, 5, 6, 3)), "float32")

    def derivative() -> tf.Tensor:
        with tf.autodiff.ForwardAccumulator(inputs, direction) as accumulator:
            outputs = pool(inputs, activation=tf.nn.relu)
        return accumulator.jvp(outputs)

    with original_implementations():
        expected = derivative()
    for call in derivative, tf.function(derivative):
        np.testing.assert_array_equal(call(), expected)


def test_function_for_xla_uses_original_operations() -> None:
    inputs = images(2, 6, 6, 3)
    compiled = tf.function(lambda inputs: pool(inputs), jit_compile=True)
    np.testing.assert_array_equal(compiled(inputs), pool(inputs))


def test_mismatched_shapes_are_errors() -> None:
    run = native.operations()
    upstream, positions = tf.zeros([2, 3, 3, 4]), tf.zeros([2, 3, 3, 5], tf.uint8)
    with pytest.raises(tf.errors.InvalidArgumentError, match="smaller than a window"):
        run.tfloop_max_pool(inputs=tf.zeros([2, 1, 4, 4]), same=False, threads=1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the shape of the outputs"):
        run.tfloop_max_pool_gradient(
            upstream=upstream, positions=positions, relu=False, same=False, height=6, width=6, threads=1
        )
    with pytest.raises(tf.errors.InvalidArgumentError, match="the shape of the outputs"):
        run.tfloop_max_pool_gradient(
            upstream=upstream, positions=positions[..., :4], relu=False, same=False, height=8, width=6, threads=1
        )
