"""tfloop's own kernels: the numbers of float64 within their type's rounding, for shapes of all kinds."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from comparing import both, same

from tfloop_cli.engine.kernels import KernelSettings, fast_kernels, native
from tfloop_cli.engine.kernels.native import MAX_CHANNELS, MAX_UNITS, MIN_INPUTS
from tfloop_cli.engine.training.executor import suits_single_thread

REASON = native.unavailable_reason()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

TYPES = [
    pytest.param(name, marks=[] if name in native._dtypes() else pytest.mark.skip) for name in ("float32", "bfloat16")
]
ROUNDING = {"float32": 1e-5, "bfloat16": 2**-7}


@pytest.fixture(autouse=True, params=[1, 3])
def threads(machine: None, request) -> Iterator[int]:
    """The C++ operations with that number of threads."""
    with fast_kernels(KernelSettings(enabled=True, native_threads=request.param)):
        yield request.param


def random(*shapes: tuple[int, ...], dtype: str) -> list[tf.Tensor]:
    numbers = np.random.default_rng(sum(map(sum, shapes)))
    return [tf.cast(numbers.normal(size=shape), dtype) for shape in shapes]


def derived(call, tensors: list[tf.Tensor]) -> list[np.ndarray]:
    """What comes out, and the gradients of its sum, each number with a weight of its own."""
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        out = call(*tensors)
    weights = tf.cast(np.random.default_rng(5).normal(size=out.shape), tensors[0].dtype)
    gradients = tape.gradient(out, tensors, output_gradients=tf.cast(weights, out.dtype))
    return [tf.cast(tensor, "float64").numpy() for tensor in (out, *gradients)]


def near(ours: list[np.ndarray], exact: list[np.ndarray], dtype: str) -> None:
    for got, expected in zip(ours, exact, strict=True):
        assert got.shape == expected.shape
        np.testing.assert_allclose(
            got, expected, rtol=0, atol=ROUNDING[dtype] * max(1e-3, np.abs(expected).max(initial=0))
        )


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs"),
    [(8, 5408, 10), (5, 533, 3), (1, 16, 16), (7, 4100, 13), (3, 5, 1), (2, 512, 12), (0, 40, 2)],
)
def test_narrow_products_are_right(batch: int, inputs: int, outputs: int, dtype: str) -> None:
    tensors = random((batch, inputs), (inputs, outputs), (outputs,), dtype=dtype)
    exact = derived(lambda a, b, c: a @ b + c, [tf.cast(tensor, "float64") for tensor in tensors])
    near(derived(native.dense, tensors), exact, dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("relu", "same"), [(True, False), (True, True), (False, True), (False, False)])
@pytest.mark.parametrize(
    ("batch", "height", "width", "channels", "kernel", "filters"),
    [(5, 28, 28, 1, 3, 32), (3, 9, 11, 3, 3, 16), (2, 8, 5, 2, 4, 48), (4, 12, 7, 3, 5, 32), (1, 3, 3, 1, 3, 16),
     (2, 6, 6, 4, 1, 64), (0, 4, 4, 1, 2, 16)],
)  # fmt: skip
def test_convolutions_are_right(batch, height, width, channels, kernel, filters, relu, same, dtype) -> None:
    shapes = (batch, height, width, channels), (kernel, kernel, channels, filters), (filters,)
    tensors = random(*shapes, dtype=dtype)
    ours = derived(lambda *tensors: native.convolution(*tensors, relu=relu, same=same), tensors)

    def plain(images: tf.Tensor, filters: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        out = tf.nn.conv2d(images, filters, 1, "SAME" if same else "VALID") + bias
        # Where rounding decides what relu lets through, the gradient may be either: ours decides for both.
        return tf.where(tf.constant(ours[0] > 0), out, 0) if relu else out

    near(ours, derived(plain, [tf.cast(tensor, "float64") for tensor in tensors]), dtype)


def test_the_same_bits_every_time() -> None:
    dense = random((33, 5408), (5408, 10), (10,), dtype="float32")
    images = random((33, 28, 28, 1), (3, 3, 1, 32), (32,), dtype="float32")
    for call, tensors in (native.dense, dense), (lambda *all: native.convolution(*all, relu=True, same=False), images):
        first = derived(call, tensors)
        for _ in range(20):
            for got, expected in zip(derived(call, tensors), first, strict=True):
                np.testing.assert_array_equal(got, expected)


def test_operations_that_are_ready_at_once_do_not_disturb_each_other() -> None:
    random = np.random.default_rng(0)
    many = [random.normal(size=(9, 4100)).astype("float32") for _ in range(6)]
    weights, bias = random.normal(size=(4100, 10)).astype("float32"), np.zeros(10, "float32")

    def gradient(inputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            out = native.dense(inputs, weights, tf.constant(bias))
        return tape.gradient(out, weights, output_gradients=tf.sign(out))

    @tf.function
    def all_at_once(weights: tf.Tensor) -> list[tf.Tensor]:
        return [gradient(tf.constant(inputs), weights) for inputs in many]

    alone = [gradient(tf.constant(inputs), tf.constant(weights)).numpy() for inputs in many]
    for _ in range(20):
        for got, expected in zip(all_at_once(tf.constant(weights)), alone, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: keras.layers.Dense(10, activation="tanh"), (4, MIN_INPUTS)),
        (lambda: keras.layers.Dense(MAX_UNITS, use_bias=False), (4, MIN_INPUTS)),
        (lambda: keras.layers.Conv2D(32, 3, activation="relu"), (3, 9, 8, 1)),
        (lambda: keras.layers.Conv2D(16, (2, 3), padding="same", use_bias=False), (3, 9, 8, 3)),
        (lambda: keras.layers.Conv2D(16, 3, activation="tanh"), (3, 9, 8, MAX_CHANNELS)),
    ],
)
def test_layers_have_keras_numbers_gradients_and_second_gradients(make, shape: tuple[int, ...]) -> None:
    inputs = random(shape, dtype="float32")[0] / 10
    ours, theirs, kinds, own_kinds = both(make, inputs)
    assert {kind for kind in kinds if kind.startswith("Tfloop")}
    assert not {kind for kind in own_kinds if kind.startswith("Tfloop")}
    assert np.abs(ours[-1]).max() > 0
    same(ours, theirs, "float32")


LEFT = {
    "few inputs": (lambda: keras.layers.Dense(10), (None, MIN_INPUTS - 1)),
    "many outputs": (lambda: keras.layers.Dense(MAX_UNITS + 1), (None, MIN_INPUTS)),
    "another type": (lambda: keras.layers.Dense(10, dtype="float64"), (None, MIN_INPUTS)),
    "a subclass": (lambda: type("Own", (keras.layers.Dense,), {})(10), (None, MIN_INPUTS)),
    "many channels": (lambda: keras.layers.Conv2D(16, 3), (None, 8, 8, MAX_CHANNELS + 1)),
    "17 filters": (lambda: keras.layers.Conv2D(17, 3), (None, 8, 8, 1)),
    "strides": (lambda: keras.layers.Conv2D(16, 3, strides=2), (None, 8, 8, 1)),
    "holes": (lambda: keras.layers.Conv2D(16, 3, dilation_rate=2), (None, 8, 8, 1)),
    "groups": (lambda: keras.layers.Conv2D(16, 3, groups=2), (None, 8, 8, 2)),
    "channels first": (lambda: keras.layers.Conv2D(16, 3, data_format="channels_first"), (None, 1, 8, 8)),
    "a volume": (lambda: keras.layers.Conv3D(16, 3), (None, 8, 8, 8, 1)),
    "depthwise": (lambda: keras.layers.DepthwiseConv2D(3), (None, 8, 8, 1)),
}


@pytest.mark.parametrize("case", LEFT)
def test_other_layers_are_left_to_tensorflow(case: str) -> None:
    make, shape = LEFT[case]
    layer = make()
    layer.build(shape)
    assert not native.supports(layer)


def test_a_first_layers_images_get_no_gradient_computed() -> None:
    layer = keras.layers.Conv2D(16, 3, activation="relu")
    layer.build((None, 8, 8, 1))

    @tf.function
    def step(images: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(images))
        return tape.gradient(loss, layer.trainable_weights)[0]

    graph = step.get_concrete_function(tf.TensorSpec((None, 8, 8, 1))).graph
    wanted, kept = [tensor.op for tensor in graph.outputs], set()
    while wanted:
        if (op := wanted.pop()) not in kept:
            kept.add(op)
            wanted += [tensor.op for tensor in op.inputs] + op.control_inputs
    kinds = {op.type for op in kept}
    assert "TfloopConvolutionGradient" in kinds
    assert "Conv2DBackpropInput" not in kinds


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_numbers_come_through(bad: float) -> None:
    images, filters, bias = random((2, 5, 5, 1), (3, 3, 1, 16), (16,), dtype="float32")
    images = tf.tensor_scatter_nd_update(images, [[1, 2, 2, 0]], [bad])
    out = native.convolution(images, filters, bias, relu=True, same=False).numpy()
    assert np.isfinite(out[0]).all()
    assert not np.isfinite(out[1]).all()
    rows, weights, bias = random((2, 40), (40, 3), (3,), dtype="float32")
    rows = tf.tensor_scatter_nd_update(rows, [[1, 7]], [bad])
    assert np.isfinite(native.dense(rows, weights, bias).numpy()).all(axis=1).tolist() == [True, False]


def test_shapes_that_do_not_fit_are_errors() -> None:
    run = native._operations()
    images, filters, bias = random((2, 5, 5, 1), (3, 3, 2, 16), (16,), dtype="float32")
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


def test_a_net_of_nothing_else_trains_in_one_thread_and_learns_what_tensorflows_kernels_learn(trainer) -> None:
    data = {"name": "synthetic", "shape": [19, 19, 1], "classes": 3, "train_examples": 60, "test_examples": 8}
    net = {"model": {"name": "conv_net", "filters": [16]}}  # 17 x 17 x 16 inputs of the dense layer
    ends = {}
    for kernels in ("tensorflow", "native"):
        run = trainer(dataset=data, **net, kernels=kernels)
        assert suits_single_thread(run.state, use_native=kernels == "native") == (kernels == "native")
        run.fit()
        ends[kernels] = run.everything()
    for name, array in ends["tensorflow"].items():
        np.testing.assert_allclose(ends["native"][name], array, rtol=1e-3, atol=1e-5, err_msg=name)


def test_what_is_missing_or_cannot_be_loaded_is_said(monkeypatch, tmp_path: Path) -> None:
    with monkeypatch.context() as changed:
        changed.setattr("tfloop_cli.runs.metadata.cpu", lambda: ("an old one", ["avx512f", "sse2"]))
        assert "no AVX-512 (avx512bw, " in native.unavailable_reason()
    with monkeypatch.context() as changed:
        changed.setattr(native, "LIBRARY", tmp_path / "operations.so")
        assert "installed without them" in native.unavailable_reason()
        shutil.copy(__file__, native.LIBRARY)
        native._operations.cache_clear()
        assert f"{native.LIBRARY} cannot be loaded" in native.unavailable_reason()
    assert native.unavailable_reason() is None
