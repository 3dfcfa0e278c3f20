"""Ablation study: the speed of the training loop without, or with another implementation of, single parts.

    python benchmarks/ablation.py mnist.yaml [--rounds 25] [--steps 40] [--only NAME ...] [--set KEY=VALUE ...]

All variants run in turns in one process, so that changes in the machine's speed affect all of them. A speed over 1
means that the loop is faster than the baseline by that factor. Some variants give up a guarantee of tfloop, to show its
cost. docs/optimization-notes.md has results.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfloop_cli.__main__ import MALLOC_SETTINGS
from tfloop_cli.config.loading import load
from tfloop_cli.config.schema import Config
from tfloop_cli.engine import loop, runtime
from tfloop_cli.engine.data import Data, build_data
from tfloop_cli.engine.data.batch_iterators import PipelineBatches
from tfloop_cli.engine.kernels import original_implementations
from tfloop_cli.engine.optimizers import build as optimizer_build
from tfloop_cli.engine.optimizers.run_optimizer import RunOptimizer
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.training.non_finite import NonFiniteGuard
from tfloop_cli.engine.training.setup import create_state
from tfloop_cli.registry import models, tasks

import keras  # isort: skip
import tensorflow as tf  # isort: skip
from tensorflow.python.framework import ops  # isort: skip

BASELINE = "baseline"
MAX_STEPS = 10**6  # more than a study runs

Change = Callable[[], AbstractContextManager[Any]]


class RepeatedBatch:
    """A batch iterator that repeats the first batch of the data."""

    def __init__(self, data: Data) -> None:
        batches = data.batch_iterator(0, 1)
        batches.set_epoch(0)
        self._batch = next(batches.batches)
        self.batches = self

    def set_epoch(self, epoch: int) -> None:
        pass

    def __next__(self) -> tuple[tf.Tensor, tf.Tensor]:
        return self._batch


def changes() -> dict[str, Change]:
    """Returns the variants by name: each a context in which the loop is built and traced."""
    bias_gradients = ops.gradient_registry._registry["BiasAdd"]
    patch = mock.patch.object

    def library(owner: Any) -> Change:
        """Without the replacements in a class, module or gradient registry of Keras or TensorFlow."""
        return lambda: original_implementations(owner)

    def settings(**values: Any) -> Change:
        """With other kernel settings."""
        original = runtime.kernel_settings
        return lambda: patch(loop, "kernel_settings", lambda config: replace(original(config), **values))

    def apply_unchecked(self: RunOptimizer, gradients: Any, variables: Any, loss: Any) -> None:
        self._update(gradients, variables)

    def no_sums(values: Any, metrics: Any) -> tf.Tensor:
        return tf.zeros(len(metrics) + 1, tf.float64)

    return {
        BASELINE: nullcontext,
        "TensorFlow's gradient of the bias": library(bias_gradients),
        "Keras' Dense": library(keras.layers.Dense),
        "no C++ operations": settings(native_threads=0),
        "TensorFlow's default executor": lambda: patch(loop, "suits_single_thread", return_value=False),
        "TensorFlow's max pooling": library(keras.layers.MaxPooling2D),
        "Keras' BatchNormalization": library(keras.layers.BatchNormalization),
        "Keras' EinsumDense": library(keras.layers.EinsumDense),
        "Keras' MultiHeadAttention": library(keras.layers.MultiHeadAttention),
        "Keras' LayerNormalization": library(keras.layers.LayerNormalization),
        "TensorFlow's gelu": library(tf.nn),
        "mean of words from a tensor of all embeddings": settings(xla=True),  # only the mean of words uses this setting
        "Keras' optimizer update": lambda: patch(optimizer_build, "fuse"),
        "batches from a tf.data pipeline": lambda: patch(Data, "batch_iterator", _from_pipeline),
        "one batch, repeated": lambda: patch(Data, "batch_iterator", _repeated()),
        "with the arithmetic optimizer": lambda: grappler(arithmetic_optimization=True),
        "without sums of metrics": lambda: patch(loop, "sums", no_sums),
        "without the check of the loss": lambda: patch(RunOptimizer, "_apply", apply_unchecked),
        "without the check of the state": lambda: patch(TrainState, "is_finite", lambda self: True),
        "without snapshots of the state": lambda: patch(NonFiniteGuard, "_snapshot", lambda self: None),
    }


@contextmanager
def grappler(**options: bool) -> Iterator[None]:
    """A context in which functions that are traced and first called are optimized with these Grappler options."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options(options)
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options(dict.fromkeys(options, True) | before)


def _from_pipeline(self: Data, first_step: int, last_step: int = MAX_STEPS) -> PipelineBatches:
    return PipelineBatches(lambda step: self.batches(step, last_step), first_step)


def _repeated() -> Callable[..., Any]:
    original = Data.batch_iterator

    def batch_iterator(self: Data, *steps: int) -> RepeatedBatch:
        with mock.patch.object(Data, "batch_iterator", original):
            return RepeatedBatch(self)

    return batch_iterator


class Variant:
    """A training loop that is built and traced with a change."""

    def __init__(self, config: Config, data: Data, change: Change) -> None:
        task = tasks.build(config.task, data.spec)
        self._steps_per_epoch, self._done = data.steps_per_epoch, 0
        with change():
            state = create_state(models.build(config.model, data.spec), task, data.spec, config, MAX_STEPS)
            self._snapshot = NonFiniteGuard._snapshot
            batches = data.batch_iterator(0, MAX_STEPS)
            self._guard = NonFiniteGuard(loop.compile_steps(task, state, config), state, data, batches, stop=True)
            self.train(2)

    def train(self, count: int) -> None:
        """Runs `count` steps; a call of the inner loop ends at the end of an epoch."""
        while count:
            epoch, step = divmod(self._done, self._steps_per_epoch)
            with mock.patch.object(NonFiniteGuard, "_snapshot", self._snapshot):
                if not step:
                    self._guard.start_epoch(epoch)
                steps = min(count, self._steps_per_epoch - step)
                self._guard.run_steps(steps)
            self._done, count = self._done + steps, count - steps


def main() -> None:
    """Times all variants in turns and prints the medians."""
    available = changes()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--steps", type=int, default=40, help="steps per round and variant, in one call")
    parser.add_argument(
        "--only", nargs="*", choices=list(available), metavar="NAME",
        help=f"variants to compare with the baseline: {', '.join(list(available)[1:])}",
    )  # fmt: skip
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    if "GLIBC_TUNABLES" not in os.environ:
        print(f"note: `tfloop train` sets GLIBC_TUNABLES={MALLOC_SETTINGS}; it is not set in this process")

    config = runtime.setup(load([options.config], sets=options.set).config)
    data = build_data(config)
    selected = {BASELINE, *(available if options.only is None else options.only)}
    variants = {name: Variant(config, data, change) for name, change in available.items() if name in selected}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(options.rounds + 1):
        for name, variant in variants.items():
            started = time.perf_counter()
            variant.train(options.steps)
            seconds[name].append(time.perf_counter() - started)
    warm = {name: times[1:] for name, times in seconds.items()}  # the first round warms up
    print(f"{options.config}: medians of {options.rounds} rounds of {options.steps} steps")
    for name, times in warm.items():
        speed = statistics.median(base / one for base, one in zip(warm[BASELINE], times, strict=True))
        print(f"{statistics.median(times) / options.steps * 1e3:9.3f} ms per step  speed {speed:6.3f}  {name}")


if __name__ == "__main__":
    main()
