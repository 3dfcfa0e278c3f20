"""The custom C++ operations equal float64 results within rounding, for many shapes."""

import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from comparison import assert_close, compare_with_original

from tfloop_cli.engine.kernels import KernelSettings, native, original_implementations
from tfloop_cli.engine.kernels.native import MAX_CHANNELS, MAX_UNITS, MIN_INPUTS
from tfloop_cli.engine.training.executor import suits_single_thread

REASON = native.unavailable_reason()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

DTYPES = [
    pytest.param(name, marks=[] if name in native.dtypes() else pytest.mark.skip) for name in ("float32", "bfloat16")
]
ROUNDING_ERROR = {"float32": 1e-5, "bfloat16": 2**-7}


@pytest.fixture(params=[1, 3], ids=["1 thread", "3 threads"])
def kernel_settings(request: pytest.FixtureRequest) -> KernelSettings:
    return KernelSettings(enabled=True, native_threads=request.param)


def random_tensors(*shapes: tuple[int, ...], dtype: str) -> list[tf.Tensor]:
    random = np.random.default_rng(sum(map(sum, shapes)))
    return [tf.cast(random.normal(size=shape), dtype) for shape in shapes]


def differentiate(call: Callable, tensors: list[tf.Tensor]) -> list[np.ndarray]:
    """Returns the outputs, and the gradients of their sum with random weights."""
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = call(*tensors)
    weights = tf.cast(np.random.default_rng(5).normal(size=outputs.shape), tensors[0].dtype)
    gradients = tape.gradient(outputs, tensors, output_gradients=tf.cast(weights, outputs.dtype))
    return [tf.cast(tensor, "float64").numpy() for tensor in (outputs, *gradients)]


def assert_within_rounding(results: list[np.ndarray], exact: list[np.ndarray], dtype: str) -> None:
    for got, expected in zip(results, exact, strict=True):
        assert got.shape == expected.shape
        tolerance = ROUNDING_ERROR[dtype] * max(1e-3, np.abs(expected).max(initial=0))
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("batch", "inputs", "units"),
    [(8, 5408, 10), (5, 533, 3), (1, 16, 16), (7, 4100, 13), (3, 5, 1), (2, 512, 12), (0, 40, 2)],
)
def test_dense_equals_float64(batch: int, inputs: int, units: int, dtype: str) -> None:
    tensors = random_tensors((batch, inputs), (inputs, units), (units,), dtype=dtype)
    exact = differentiate(
        lambda inputs, weights, bias: inputs @ weights + bias, [tf.cast(tensor, "float64") for tensor in tensors]
    )
    assert_within_rounding(differentiate(native.dense, tensors), exact, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("relu", "same"), [(True, False), (True, True), (False, True), (False, False)])
@pytest.mark.parametrize(
    ("batch", "height", "width", "channels", "kernel", "filters"),
    [(5, 28, 28, 1, 3, 32), (3, 9, 11, 3, 3, 16), (2, 8, 5, 2, 4, 48), (4, 12, 7, 3, 5, 32), (1, 3, 3, 1, 3, 16),
     (2, 6, 6, 4, 1, 64), (0, 4, 4, 1, 2, 16)],
)  # fmt: skip
def test_convolution_equals_float64(batch, height, width, channels, kernel, filters, relu, same, dtype) -> None:
    shapes = (batch, height, width, channels), (kernel, kernel, channels, filters), (filters,)
    tensors = random_tensors(*shapes, dtype=dtype)
    results = differentiate(lambda *tensors: native.convolution(*tensors, relu=relu, same=same), tensors)

    def convolution(images: tf.Tensor, filters: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        outputs = tf.nn.conv2d(images, filters, 1, "SAME" if same else "VALID") + bias
        # The mask of relu is that of the C++ operation: near 0, it depends on rounding.
        return tf.where(tf.constant(results[0] > 0), outputs, 0) if relu else outputs

    exact = differentiate(convolution, [tf.cast(tensor, "float64") for tensor in tensors])
    assert_within_rounding(results, exact, dtype)


def test_results_are_bitwise_reproducible() -> None:
    def convolution(*tensors: tf.Tensor) -> tf.Tensor:
        return native.convolution(*tensors, relu=True, same=False)

    rows = random_tensors((33, 5408), (5408, 10), (10,), dtype="float32")
    images = random_tensors((33, 28, 28, 1), (3, 3, 1, 32), (32,), dtype="float32")
    for call, tensors in (native.dense, rows), (convolution, images):
        first = differentiate(call, tensors)
        for _ in range(20):
            for got, expected in zip(differentiate(call, tensors), first, strict=True):
                np.testing.assert_array_equal(got, expected)


def test_concurrent_operations_do_not_affect_each_other() -> None:
    random = np.random.default_rng(0)
    batches = [random.normal(size=(9, 4100)).astype("float32") for _ in range(6)]
    weights, bias = random.normal(size=(4100, 10)).astype("float32"), np.zeros(10, "float32")

    def gradient(inputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            outputs = native.dense(inputs, weights, tf.constant(bias))
        return tape.gradient(outputs, weights, output_gradients=tf.sign(outputs))

    @tf.function
    def gradients(weights: tf.Tensor) -> list[tf.Tensor]:
        return [gradient(tf.constant(inputs), weights) for inputs in batches]

    separate = [gradient(tf.constant(inputs), tf.constant(weights)).numpy() for inputs in batches]
    for _ in range(20):
        for got, expected in zip(gradients(tf.constant(weights)), separate, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("make_layer", "shape"),
    [
        (lambda: keras.layers.Dense(10, activation="tanh"), (4, MIN_INPUTS)),
        (lambda: keras.layers.Dense(MAX_UNITS, use_bias=False), (4, MIN_INPUTS)),
        (lambda: keras.layers.Conv2D(32, 3, activation="relu"), (3, 9, 8, 1)),
        (lambda: keras.layers.Conv2D(16, (2, 3), padding="same", use_bias=False), (3, 9, 8, 3)),
        (lambda: keras.layers.Conv2D(16, 3, activation="tanh"), (3, 9, 8, MAX_CHANNELS)),
    ],
)
def test_layers_equal_keras_up_to_second_derivatives(make_layer: Callable, shape: tuple[int, ...]) -> None:
    (tensor,) = random_tensors(shape, dtype="float32")
    fast, original, fast_operations, original_operations = compare_with_original(make_layer, tensor / 10)
    assert any(name.startswith("Tfloop") for name in fast_operations)
    assert not any(name.startswith("Tfloop") for name in original_operations)
    assert np.abs(fast[-1]).max() > 0
    assert_close(fast, original, "float32")


UNSUPPORTED = {
    "few inputs": (lambda: keras.layers.Dense(10), (None, MIN_INPUTS - 1)),
    "many outputs": (lambda: keras.layers.Dense(MAX_UNITS + 1), (None, MIN_INPUTS)),
    "float64": (lambda: keras.layers.Dense(10, dtype="float64"), (None, MIN_INPUTS)),
    "a subclass": (lambda: type("Subclass", (keras.layers.Dense,), {})(10), (None, MIN_INPUTS)),
    "many channels": (lambda: keras.layers.Conv2D(16, 3), (None, 8, 8, MAX_CHANNELS + 1)),
    "17 filters": (lambda: keras.layers.Conv2D(17, 3), (None, 8, 8, 1)),
    "strides": (lambda: keras.layers.Conv2D(16, 3, strides=2), (None, 8, 8, 1)),
    "dilation": (lambda: keras.layers.Conv2D(16, 3, dilation_rate=2), (None, 8, 8, 1)),
    "groups": (lambda: keras.layers.Conv2D(16, 3, groups=2), (None, 8, 8, 2)),
    "channels first": (lambda: keras.layers.Conv2D(16, 3, data_format="channels_first"), (None, 1, 8, 8)),
    "a volume": (lambda: keras.layers.Conv3D(16, 3), (None, 8, 8, 8, 1)),
    "depthwise": (lambda: keras.layers.DepthwiseConv2D(3), (None, 8, 8, 1)),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_layer_is_unsupported(case: str) -> None:
    make_layer, shape = UNSUPPORTED[case]
    layer = make_layer()
    layer.build(shape)
    assert not native.supports(layer)


def test_gradient_of_input_images_is_not_computed() -> None:
    layer = keras.layers.Conv2D(16, 3, activation="relu")
    layer.build((None, 8, 8, 1))

    @tf.function
    def step(images: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(images))
        return tape.gradient(loss, layer.trainable_weights)[0]

    graph = step.get_concrete_function(tf.TensorSpec((None, 8, 8, 1))).graph
    # Operations that no output depends on are in the graph, but do not run.
    pending, reached = [tensor.op for tensor in graph.outputs], set()
    while pending:
        if (operation := pending.pop()) not in reached:
            reached.add(operation)
            pending += [tensor.op for tensor in operation.inputs] + operation.control_inputs
    types = {operation.type for operation in reached}
    assert "TfloopConvolutionGradient" in types
    assert "Conv2DBackpropInput" not in types


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_inputs_give_non_finite_outputs(value: float) -> None:
    images, filters, bias = random_tensors((2, 5, 5, 1), (3, 3, 1, 16), (16,), dtype="float32")
    images = tf.tensor_scatter_nd_update(images, [[1, 2, 2, 0]], [value])
    outputs = native.convolution(images, filters, bias, relu=True, same=False).numpy()
    assert np.isfinite(outputs[0]).all()
    assert not np.isfinite(outputs[1]).all()
    rows, weights, bias = random_tensors((2, 40), (40, 3), (3,), dtype="float32")
    rows = tf.tensor_scatter_nd_update(rows, [[1, 7]], [value])
    assert np.isfinite(native.dense(rows, weights, bias).numpy()).all(axis=1).tolist() == [True, False]


def test_mismatched_shapes_are_errors() -> None:
    run = native.operations()
    images, filters, bias = random_tensors((2, 5, 5, 1), (3, 3, 2, 16), (16,), dtype="float32")
    with pytest.raises(tf.errors.InvalidArgumentError, match="filters must have the images' channels"):
        run.tfloop_convolution(images=images, filters=filters, bias=bias, relu=True, same=True, threads=1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="input 0 must have 4 dimensions"):
        run.tfloop_convolution(images=bias, filters=filters, bias=bias, relu=True, same=True, threads=1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="smaller than the filters"):
        run.tfloop_convolution(
            images=images[:, :2], filters=filters[:, :, :1], bias=bias, relu=True, same=False, threads=1
        )
    with pytest.raises(tf.errors.InvalidArgumentError, match="shapes do not match"):
        run.tfloop_narrow(inputs=images[:, 0, :, 0], weights=filters[:, 0, 0, :], bias=bias, threads=1)


@contextmanager
def little_memory(spare_bytes: int) -> Iterator[None]:
    """A context in which this process can allocate at most `spare_bytes` more of address space."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + spare_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_failed_allocation_is_an_error_also_in_a_worker_thread(kernel_settings: KernelSettings) -> None:
    """Images of 8,192 rows with a kernel of 8,192 columns are padded to 256 MiB each."""
    side = 2**13
    run, bias = native.operations(), tf.zeros([16])
    options = {"bias": bias, "relu": True, "same": True, "threads": kernel_settings.native_threads}
    large = {"images": tf.ones([2, side, 1, 1]), "filters": tf.ones([1, side, 1, 16])}
    small = {"images": tf.ones([2, 3, 3, 1]), "filters": tf.ones([3, 3, 1, 16])}
    before = run.tfloop_convolution(**small, **options).numpy()  # starts the threads
    with little_memory(64 * 2**20), pytest.raises(tf.errors.ResourceExhaustedError, match="OOM when allocating"):
        run.tfloop_convolution(**large, **options)
    assert (run.tfloop_convolution(**small, **options).numpy() == before).all()


@pytest.mark.parametrize("sizes", [(0, 3, 1, 16), (3, 0, 1, 16), (3, 3, 0, 16), (3, 3, 1, 0)], ids=str)
def test_filters_without_taps_are_an_error(sizes: tuple[int, ...]) -> None:
    """They were a segmentation fault."""
    tensors = {"images": tf.zeros([2, 5, 5, sizes[2]]), "filters": tf.zeros(sizes)}
    options = {"relu": True, "same": True, "threads": 1}
    run = native.operations()
    with pytest.raises(tf.errors.InvalidArgumentError, match="filters must not be empty"):
        run.tfloop_convolution(**tensors, bias=tf.zeros(sizes[3]), **options)
    outputs = tf.zeros([2, 5, 5, sizes[3]])
    with pytest.raises(tf.errors.InvalidArgumentError, match="filters must not be empty"):
        run.tfloop_convolution_gradient(**tensors, outputs=outputs, upstream=outputs, **options)


LAYERS = {
    "dense": (lambda: keras.layers.Dense(10), (4, MIN_INPUTS)),
    "convolution": (lambda: keras.layers.Conv2D(16, 3, activation="relu"), (3, 9, 8, 1)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_forward_mode_derivative_equals_keras(name: str) -> None:
    make_layer, shape = LAYERS[name]
    layer, (inputs, direction) = make_layer(), random_tensors(shape, shape, dtype="float32")
    layer(inputs)

    def derivative() -> tf.Tensor:
        with tf.autodiff.ForwardAccumulator(inputs, direction) as accumulator:
            outputs = layer(inputs)
        return accumulator.jvp(outputs)

    with original_implementations():
        expected = derivative()
    for call in derivative, tf.function(derivative):
        np.testing.assert_allclose(call(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_function_for_xla_uses_original_operations(name: str) -> None:
    make_layer, shape = LAYERS[name]
    layer, (inputs,) = make_layer(), random_tensors(shape, dtype="float32")
    expected = layer(inputs)
    compiled = tf.function(lambda inputs: layer(inputs), jit_compile=True)
    np.testing.assert_allclose(compiled(inputs), expected, rtol=1e-4, atol=1e-4)
    outer = tf.function(lambda inputs: compiled(inputs) + layer(inputs))
    np.testing.assert_allclose(outer(inputs), 2 * expected, rtol=1e-4, atol=1e-4)
    types = {operation.type for operation in outer.get_concrete_function(inputs).graph.get_operations()}
    assert any(name.startswith("Tfloop") for name in types)


def test_small_cnn_trains_in_single_thread_like_tensorflow(trainer) -> None:
    dataset = {"name": "synthetic", "shape": [19, 19, 1], "classes": 3, "train_examples": 60, "test_examples": 8}
    model = {"name": "conv_net", "filters": [16]}  # its dense layer has 17 x 17 x 16 inputs
    variables = {}
    for kernels in ("tensorflow", "native"):
        run = trainer(dataset=dataset, model=model, kernels=kernels)
        assert suits_single_thread(run.state, use_native=kernels == "native") == (kernels == "native")
        run.fit()
        variables[kernels] = run.everything()
    for name, expected in variables["tensorflow"].items():
        np.testing.assert_allclose(variables["native"][name], expected, rtol=1e-3, atol=1e-5, err_msg=name)


def test_unavailable_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tfloop_cli.hardware.cpu", lambda: ("an old processor", ["avx512f", "sse2"]))
        assert "no AVX-512 (avx512bw, " in native.unavailable_reason()
    with monkeypatch.context() as patch:
        patch.setattr(native, "LIBRARY", tmp_path / "operations.so")
        assert "installed without them" in native.unavailable_reason()
        shutil.copy(__file__, native.LIBRARY)
        native.operations.cache_clear()
        assert f"{native.LIBRARY} cannot be loaded" in native.unavailable_reason()
    assert native.unavailable_reason() is None
