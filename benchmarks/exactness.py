"""Compares tfloop's replacements and Keras' own implementations with float64: results, gradients, moving statistics.

    python benchmarks/exactness.py [--only NAME ...] [--draws 100] [--elements 10000000]

Each case is a layer, a dtype and a shape of inputs. Inputs, weights and upstream gradients are random and exact in the
dtype. An error is the root mean square of the difference from float64 over all draws and elements. A replacement passes
if its error is at most 1.5 times that of Keras, or less than 1e-6 of the values (root mean square). The exit code is 1
if one fails. All cases take about an hour, and some minutes with --draws 5; --elements leaves out larger shapes.
tests/engine/kernels/test_exactness.py runs the small shapes.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tfloop_cli.engine.kernels import KernelSettings, WordMean, fast_kernels, native

MAX_RATIO, MAX_RELATIVE = 1.5, 1e-6
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16", "float64": "float64"}
Shape = tuple[int, ...]
SUPPORTED = ("float32", "bfloat16")  # of replacements that leave float16 to Keras
ENABLED = KernelSettings(enabled=True)


@dataclass(frozen=True)
class Case:
    """A replacement and the shapes to compare it at.

    Attributes:
        make: returns a new layer of a dtype policy.
        shapes: of the inputs.
        dtypes: names of POLICIES.
        settings: of the replacements.
        call: calls the layer; default: with its inputs.
        words: whether inputs are ids of words, with empty texts, instead of numbers.
    """

    make: Callable[[str], keras.Layer]
    shapes: tuple[Shape, ...]
    dtypes: tuple[str, ...] = ("float32", "bfloat16", "float16")
    settings: KernelSettings = ENABLED
    call: Callable[..., Any] = field(default=lambda layer, inputs: layer(inputs))
    words: bool = False


@dataclass(frozen=True)
class Error:
    """The errors of one result: root mean squares over all draws and elements.

    Attributes:
        result: "outputs", "gradient of inputs", "gradient of NAME", or the name of a moving statistic.
        tfloop: of the replacement.
        keras: of Keras' own implementation.
        size: the root mean square of the values in float64.
    """

    result: str
    tfloop: float
    keras: float
    size: float

    @property
    def passed(self) -> bool:
        return self.tfloop <= MAX_RATIO * self.keras or self.tfloop < MAX_RELATIVE * self.size


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
    found = {
        "dense 2-D": Case(layer("Dense", 5), rows),
        "dense 3-D": Case(layer("Dense", 5), sequences),
        "transposed dense": Case(layer("Dense", 10), ((1, 4096), (128, 21632)), SUPPORTED),
        "convolution": Case(layer("Conv2D", 8, 3, padding="same"), images),
        # TensorFlow's own crashes on other shapes: see benchmarks/convolution_faults.py.
        "strided 1x1 convolution": Case(
            layer("Conv2D", 16, 1, strides=2), ((2, 28, 28, 8), (32, 28, 28, 8)), SUPPORTED
        ),
        "depthwise convolution": Case(layer("DepthwiseConv2D", 3, padding="same"), images[1:5], SUPPORTED),
        "einsum dense, bias of all axes": Case(
            layer("EinsumDense", "abc,cde->abde", bias_axes="de", **heads), sequences
        ),
        "einsum dense, bias of one axis": Case(
            layer("EinsumDense", "abc,cde->abde", bias_axes="d", **heads), sequences
        ),
        "einsum dense 2-D": Case(layer("EinsumDense", "ab,bc->ac", output_shape=5, bias_axes="c"), rows),
        "attention": Case(
            layer("MultiHeadAttention", 4, 16), sequences[:-2], SUPPORTED, call=lambda layer, x: layer(x, x)
        ),
        "layer normalization": Case(layer("LayerNormalization"), (*rows, *sequences), SUPPORTED),
        "gelu": Case(layer("Activation", "gelu"), (*rows, *sequences), SUPPORTED),
        "batch normalization": Case(
            layer("BatchNormalization"),
            (*maps, *large_maps),
            SUPPORTED,
            call=lambda layer, x: layer(x, training=True),
        ),
        "mean of words": Case(
            lambda policy: WordMean(50, 16, dtype=policy),
            ((1, 1), (1, 9), (4, 9), (64, 100), (32, 5000)),
            ("float32",),
            words=True,
        ),
    }
    if native.unavailable_reason() is None:
        dtypes, settings = native._dtypes(), KernelSettings(enabled=True, native_threads=2)
        shapes = ((1, 5, 5, 1), (9, 12, 12, 3), (128, 28, 28, 1), (64, 128, 128, 1))
        relu = layer("Conv2D", 16, 3, activation="relu")
        found["C++ convolution"] = Case(layer("Conv2D", 16, 3), shapes, dtypes, settings)
        # With millions of outputs, some round to the other side of 0, and the error of the gradient is that of these.
        found["C++ convolution and relu"] = Case(relu, shapes[:2], dtypes, settings)
        found["C++ dense"] = Case(layer("Dense", 10), ((1, 4096), (128, 21632), (5000, 4096)), dtypes, settings)
    return found


def compare(case: Case, dtype: str, shape: Shape, draws: int) -> list[Error]:
    """Returns the error of each result of a case."""
    fast, original = (_Run(case, POLICIES[dtype], shape, settings) for settings in (case.settings, KernelSettings()))
    exact = _exact(case, shape)
    totals: dict[str, np.ndarray] = {}
    for seed in range(draws):
        tensors = _draw(case, shape, exact, dtype, seed)
        expected = exact(*tensors)
        results = [run(*tensors) for run in (fast, original)]
        for name, values in expected.items():
            squares = [np.mean(np.square(result[name] - values)) for result in results]
            totals[name] = totals.get(name, 0) + np.array([*squares, np.mean(np.square(values))]) / draws
    return [Error(name, *np.sqrt(total).tolist()) for name, total in totals.items()]


@lru_cache(maxsize=8)  # used for each dtype
def _exact(case: Case, shape: Shape) -> "_Run":
    return _Run(case, "float64", shape, KernelSettings())


class _Run:
    """A layer with its gradients, traced with kernel settings."""

    def __init__(self, case: Case, policy: str, shape: Shape, settings: KernelSettings) -> None:
        self._layer, self._case = case.make(policy), case
        inputs_dtype = "int32" if case.words else self._layer.compute_dtype
        self._inputs_dtype = inputs_dtype
        case.call(self._layer, tf.zeros(shape, inputs_dtype))
        self.weights = self._layer.weights
        self.outputs_shape = case.call(self._layer, tf.zeros(shape, inputs_dtype)).shape
        self._compute = tf.function(self._trace(settings), autograph=False)

    def __call__(self, inputs: np.ndarray, upstream: np.ndarray, weights: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the results as float64, by name; all arguments are float64, or int64 if they are words."""
        for weight, value in zip(self.weights, weights, strict=True):
            weight.assign(value)
        tensors = tf.cast(inputs, self._inputs_dtype), tf.cast(upstream, self._layer.compute_dtype)
        results = {name: value.numpy() for name, value in self._compute(*tensors).items()}
        return results | {one.name: one.numpy().astype("float64") for one in self._layer.non_trainable_variables}

    def _trace(self, settings: KernelSettings) -> Callable[..., dict[str, tf.Tensor]]:
        def run(inputs: tf.Tensor, upstream: tf.Tensor) -> dict[str, tf.Tensor]:
            variables = {
                f"gradient of {one.path.partition('/')[2]}": one.value for one in self._layer.trainable_variables
            }
            if not self._case.words:
                variables["gradient of inputs"] = inputs
            with fast_kernels(settings), tf.GradientTape() as tape:
                tape.watch(list(variables.values()))
                outputs = self._case.call(self._layer, inputs)
            with fast_kernels(settings):
                gradients = tape.gradient(outputs, variables, output_gradients=upstream)
            results = {"outputs": outputs, **gradients}
            return {name: tf.cast(tf.convert_to_tensor(one), "float64") for name, one in results.items()}

        return run


def _draw(
    case: Case, shape: Shape, run: _Run, dtype: str, seed: int
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Returns inputs, upstream gradients and weights: float64 arrays of numbers that are exact in the dtype."""
    generator = np.random.default_rng(seed)

    def normal(mean: float, deviation: float, shape: Shape) -> np.ndarray:
        values = generator.normal(mean, deviation, shape)
        return values.astype(tf.as_dtype(dtype).as_numpy_dtype).astype("float64")

    if case.words:
        inputs = generator.integers(0, 50, shape) * (generator.random(shape) < 0.5)
        inputs[generator.random(len(inputs)) < 0.3] = 0  # empty texts
    else:
        inputs = normal(1, 2, shape)
    weights = []
    for weight in run.weights:
        moving, scale = "moving" in weight.name, math.sqrt(max(1, math.prod(weight.shape[:-1])))
        weights.append(np.zeros(weight.shape) if moving else normal(0.5 / scale, 1 / scale, weight.shape))
    return inputs, normal(0.5, 1, run.outputs_shape), weights


def table(only: list[str], draws: int, elements: int) -> Iterator[bool]:
    """Prints a row per case, dtype, shape and result; yields whether it passed."""
    columns = "{:32} {:9} {:20} {:26} {:>9} {:>9} {:>6} {:>9}  {}"
    print(columns.format("replacement", "dtype", "inputs", "result", "tfloop", "Keras", "ratio", "relative", ""))
    for name, case in cases().items():
        selected = [shape for shape in case.shapes if math.prod(shape) <= elements and (not only or name in only)]
        for dtype, shape in ((dtype, shape) for dtype in case.dtypes for shape in selected):
            for error in compare(case, dtype, shape, draws):
                ratio = f"{error.tfloop / error.keras:.2f}" if error.keras else "-"
                numbers = (
                    f"{error.tfloop:.1e}",
                    f"{error.keras:.1e}",
                    ratio,
                    f"{error.tfloop / error.size:.1e}" if error.size else "-",
                )
                print(
                    columns.format(
                        name, dtype, str(shape), error.result[-26:], *numbers, "" if error.passed else "FAILED"
                    ),
                    flush=True,
                )
                yield error.passed


def main() -> int:
    """Prints the table; returns 1 if a replacement failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", choices=list(cases()))
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--elements", type=int, default=10**7, help="the most elements of the inputs")
    options = parser.parse_args()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})  # as the training loop does
    passed = list(table(options.only, options.draws, options.elements))
    print(f"{passed.count(True)} passed, {passed.count(False)} failed")
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main())
