"""The replacements that benchmarks/exactness.py compares: layers and optimizers, with dtypes and shapes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels import KernelSettings, WordMean, fast_kernels, native
from tfloop_cli.engine.kernels.settings import use_settings
from tfloop_cli.engine.optimizers.fused import MIN_FUSED_SIZE, fuse

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16", "float64": "float64"}
Shape = tuple[int, ...]
Results = dict[str, tf.Tensor]
SUPPORTED = ("float32", "bfloat16")  # of replacements that leave float16 to Keras
ENABLED = KernelSettings(enabled=True)
UPDATES = 10  # of an optimizer per draw


class Case(Protocol):
    """A replacement with the dtypes and shapes to compare it at."""

    @property
    def shapes(self) -> tuple[Shape, ...]: ...

    @property
    def dtypes(self) -> tuple[str, ...]: ...

    def measurement(self, dtype: str, shape: Shape) -> Callable[[tf.Tensor], Results]:
        """Returns a function of a seed, int32 []: name of a result -> float64 [3].

        These are the mean squares of the replacement's error, of Keras' error, and of the values in float64.
        """
        ...


@dataclass(frozen=True)
class LayerCase:
    """A layer: outputs, gradients, moving statistics.

    Attributes:
        make: returns a new layer of a dtype policy.
        shapes: of the inputs.
        dtypes: names of POLICIES.
        settings: of the replacements.
        call: calls the layer; default: with its inputs.
        words: whether inputs are ids of words, with empty texts, instead of numbers.
        relu: whether the layer ends with a relu. Among millions of outputs, some round to the other side of 0. So
            gradients are compared with those in float64 for the outputs that each implementation has above 0.
    """

    make: Callable[[str], keras.Layer]
    shapes: tuple[Shape, ...]
    dtypes: tuple[str, ...] = ("float32", "bfloat16", "float16")
    settings: KernelSettings = ENABLED
    call: Callable[..., Any] = field(default=lambda layer, inputs: layer(inputs))
    words: bool = False
    relu: bool = False

    def measurement(self, dtype: str, shape: Shape) -> Callable[[tf.Tensor], Results]:
        fast, original = (_Run(self, POLICIES[dtype], shape, s) for s in (self.settings, KernelSettings()))
        exact = _exact(self, shape)

        def measure(seed: tf.Tensor) -> Results:
            inputs, upstream, weights = draw = _draw(self, shape, exact, dtype, seed)
            results = [run.run(*draw) for run in (fast, original)]
            if self.relu:
                expected = [exact.compiled(inputs, _masked(upstream, one["outputs"]), weights) for one in results]
                expected = [one | {"outputs": tf.nn.relu(one["outputs"])} for one in expected]
            else:
                expected = [exact.compiled(*draw)] * 2
            return {
                name: tf.stack([
                    *(_mean_square(got[name] - right[name]) for got, right in zip(results, expected, strict=True)),
                    _mean_square(expected[0][name]),
                ])
                for name in expected[0]
            }  # fmt: skip

        return measure


@dataclass(frozen=True)
class OptimizerCase:
    """An optimizer: the change of a variable in some updates from zero slots, and the slots after them.

    Attributes:
        make: returns a new optimizer.
        shapes: of the variable.
        dtypes: of the variable.
        settings: of the kernels.
    """

    make: Callable[[], keras.Optimizer]
    shapes: tuple[Shape, ...]
    dtypes: tuple[str, ...] = SUPPORTED
    settings: KernelSettings = ENABLED

    def measurement(self, dtype: str, shape: Shape) -> Callable[[tf.Tensor], Results]:
        variables = [keras.Variable(tf.zeros(shape), dtype=one) for one in (dtype, dtype, "float64")]
        optimizers = [self.make() for _ in variables]
        for optimizer, variable in zip(optimizers, variables, strict=True):
            optimizer.build([variable])
        fuse(optimizers[0])

        def update(number: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            gradient = tf.cast(tf.random.stateless_normal(shape, [seed, number + 1], 0.3), dtype)
            with use_settings(self.settings):
                for optimizer, variable in zip(optimizers, variables, strict=True):
                    optimizer.apply([tf.cast(gradient, variable.dtype)], [variable])
            return number + 1, seed

        def measure(seed: tf.Tensor) -> Results:
            before = tf.cast(tf.random.stateless_normal(shape, [seed, 0]), dtype)
            slots = [[one for one in optimizer.variables if one.shape == shape] for optimizer in optimizers]
            for optimizer, variable, own in zip(optimizers, variables, slots, strict=True):
                variable.assign(tf.cast(before, variable.dtype))
                for slot in (optimizer.iterations, *own):
                    slot.assign(tf.zeros_like(slot))
            tf.while_loop(lambda number, seed: number < UPDATES, update, [0, seed], parallel_iterations=1)
            results = {"change": [_as_float64(one.value) - _as_float64(before) for one in variables]}
            for own in zip(*slots, strict=True):
                results[own[0].path.rpartition("_")[2]] = [_as_float64(slot.value) for slot in own]
            return {
                name: tf.stack([_mean_square(fast - exact), _mean_square(original - exact), _mean_square(exact)])
                for name, (fast, original, exact) in results.items()
            }

        return measure


def layer(name: str, *arguments: Any, **options: Any) -> Callable[[str], keras.Layer]:
    """Returns a function that builds a Keras layer of a dtype policy."""
    return lambda policy: getattr(keras.layers, name)(*arguments, **options, dtype=policy)


def cases() -> dict[str, Case]:
    """Returns the cases by name; those of the C++ operations only where they are available."""
    rows = ((1, 8), (7, 1), (1000, 8), (8192, 16), (1_000_000, 3))
    sequences = ((1, 1, 8), (2, 5, 8), (16, 65, 8), (128, 65, 64), (64, 256, 64), (256, 4096, 2))
    images = ((1, 1, 1, 1), (9, 5, 4, 3), (9, 28, 28, 1), (64, 28, 28, 8), (128, 32, 32, 16), (64, 128, 128, 1))
    maps = ((9, 28, 28, 1), (9, 1, 1, 1), (2, 8, 8, 2), (2, 8, 8, 64), (9, 8, 8, 16), (16, 32, 32, 9), *images[3:])
    large_maps = ((128, 16, 16, 32), (128, 8, 8, 64), (16, 128, 128, 16), (64, 256, 256, 1), (16, 256, 256, 3))
    heads = {"output_shape": (None, 4, 16)}
    many_outputs = *sequences[:-1], (64, 4096, 2)
    found: dict[str, Case] = {
        "dense 2-D": LayerCase(layer("Dense", 5), rows),
        "dense 3-D": LayerCase(layer("Dense", 5), sequences),
        "transposed dense": LayerCase(layer("Dense", 10), ((1, 4096), (128, 21632)), SUPPORTED),
        "convolution": LayerCase(layer("Conv2D", 8, 3, padding="same"), images),
        # TensorFlow's own crashes on other shapes: see benchmarks/convolution_faults.py.
        "strided 1x1 convolution": LayerCase(
            layer("Conv2D", 16, 1, strides=2), ((2, 28, 28, 8), (32, 28, 28, 8)), SUPPORTED
        ),
        "depthwise convolution": LayerCase(layer("DepthwiseConv2D", 3, padding="same"), images[1:5], SUPPORTED),
        "einsum dense, bias of all axes": LayerCase(
            layer("EinsumDense", "abc,cde->abde", bias_axes="de", **heads), many_outputs
        ),
        "einsum dense, bias of one axis": LayerCase(
            layer("EinsumDense", "abc,cde->abde", bias_axes="d", **heads), many_outputs
        ),
        "einsum dense 2-D": LayerCase(layer("EinsumDense", "ab,bc->ac", output_shape=5, bias_axes="c"), rows),
        "attention": LayerCase(
            layer("MultiHeadAttention", 4, 16), sequences[:-2], SUPPORTED, call=lambda layer, x: layer(x, x)
        ),
        "layer normalization": LayerCase(layer("LayerNormalization"), (*rows, *sequences), SUPPORTED),
        "gelu": LayerCase(layer("Activation", "gelu"), (*rows, *sequences), SUPPORTED),
        "batch normalization": LayerCase(
            layer("BatchNormalization"),
            (*maps, *large_maps),
            SUPPORTED,
            call=lambda layer, x: layer(x, training=True),
        ),
        "mean of words": LayerCase(
            lambda policy: WordMean(50, 16, dtype=policy),
            ((1, 1), (1, 9), (4, 9), (64, 100), (32, 5000)),
            ("float32",),
            words=True,
        ),
    }
    return found | _native_cases() | _optimizer_cases()


def _native_cases() -> dict[str, Case]:
    if native.unavailable_reason() is not None:
        return {}
    dtypes, settings = native.dtypes(), KernelSettings(enabled=True, native_threads=2)
    adam, variables = keras.optimizers.Adam, ((3,), (7, 3), (256, 65), (1024, 1024))
    shapes = ((1, 5, 5, 1), (9, 12, 12, 3), (128, 28, 28, 1), (64, 128, 128, 1))
    relu = layer("Conv2D", 16, 3, activation="relu")
    return {
        "C++ convolution": LayerCase(layer("Conv2D", 16, 3), shapes, dtypes, settings),
        "C++ convolution and relu": LayerCase(relu, shapes, dtypes, settings, relu=True),
        "C++ dense": LayerCase(layer("Dense", 10), ((1, 4096), (128, 21632), (5000, 4096)), dtypes, settings),
        "C++ adam": OptimizerCase(lambda: adam(0.01), variables, ("float32",), settings),
    }


def _optimizer_cases() -> dict[str, Case]:
    optimizers, shapes = keras.optimizers, ((7, 3), (MIN_FUSED_SIZE // 64, 64), (1024, 1024))
    return {
        "adam": OptimizerCase(lambda: optimizers.Adam(0.01), shapes),
        "adamw": OptimizerCase(lambda: optimizers.AdamW(0.01, weight_decay=0.1), shapes),
        "sgd with momentum": OptimizerCase(lambda: optimizers.SGD(0.01, momentum=0.9), shapes),
        "sgd with nesterov": OptimizerCase(lambda: optimizers.SGD(0.01, momentum=0.9, nesterov=True), shapes),
    }


@lru_cache(maxsize=8)  # used for each dtype
def _exact(case: LayerCase, shape: Shape) -> "_Run":
    run = _Run(case, "float64", shape, KernelSettings())
    if case.relu:
        run.layer.activation = None
    return run


class _Run:
    """A layer with its gradients, to be traced with kernel settings."""

    def __init__(self, case: LayerCase, policy: str, shape: Shape, settings: KernelSettings) -> None:
        self.layer, self._case, self._settings = case.make(policy), case, settings
        self._inputs_dtype = "int32" if case.words else self.layer.compute_dtype
        self.outputs_shape = case.call(self.layer, tf.zeros(shape, self._inputs_dtype)).shape
        self.compiled = tf.function(self.run, autograph=False)

    def run(self, inputs: tf.Tensor, upstream: tf.Tensor, weights: list[tf.Tensor]) -> Results:
        """Returns the results as float64, by name; all arguments are float64, or int32 if they are words."""
        for weight, value in zip(self.layer.weights, weights, strict=True):
            weight.assign(tf.cast(value, weight.dtype))
        inputs, upstream = tf.cast(inputs, self._inputs_dtype), tf.cast(upstream, self.layer.compute_dtype)
        variables = {f"gradient of {one.path.partition('/')[2]}": one.value for one in self.layer.trainable_variables}
        if not self._case.words:
            variables["gradient of inputs"] = inputs
        with fast_kernels(self._settings), tf.GradientTape() as tape:
            tape.watch(list(variables.values()))
            outputs = self._case.call(self.layer, inputs)
        with fast_kernels(self._settings):
            gradients = tape.gradient(outputs, variables, output_gradients=upstream)
        changed = {one.name: one.value for one in self.layer.non_trainable_variables}
        return {name: _as_float64(one) for name, one in {"outputs": outputs, **gradients, **changed}.items()}


def _draw(
    case: LayerCase, shape: Shape, run: _Run, dtype: str, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Returns inputs, upstream gradients and weights: float64 tensors of numbers that are exact in the dtype."""

    def normal(number: int, mean: float, deviation: float, shape: Shape) -> tf.Tensor:
        return _as_float64(tf.cast(tf.random.stateless_normal(shape, [seed, number], mean, deviation), dtype))

    if case.words:
        words = tf.random.stateless_uniform(shape, [seed, 0], 0, 50, tf.int32)
        is_word = tf.random.stateless_uniform(shape, [seed, 1]) < 0.5
        has_words = tf.random.stateless_uniform([shape[0], 1], [seed, 2]) >= 0.3  # the others are empty texts
        inputs = tf.where(is_word & has_words, words, 0)
    else:
        inputs = normal(0, 1, 2, shape)
    weights = []
    for number, weight in enumerate(run.layer.weights):
        moving, scale = "moving" in weight.name, math.sqrt(max(1, math.prod(weight.shape[:-1])))
        value = normal(3 + number, 0.5 / scale, 1 / scale, weight.shape)
        weights.append(tf.zeros_like(value) if moving else value)
    upstream = normal(1, 0.5, 1, run.outputs_shape)
    # Sums of a million numbers have to fit into float16.
    return inputs, upstream / 16 if dtype == "float16" else upstream, weights


def _masked(upstream: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return tf.where(outputs > 0, upstream, 0)


def _as_float64(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(tensor), tf.float64)


def _mean_square(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.square(values))
