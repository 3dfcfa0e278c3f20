"""What single parts of the loop give or cost, each against the loop as it is: docs/performance.md is written from it.

    python benchmarks/ablation.py mnist.yaml [--rounds 25] [--steps 40] [--only NAME ...] [--set KEY=VALUE ...]

All run in one process, in turn, so that the machine's drift meets all alike; a speed over 1 says that the loop would be
so many times as fast with that change. Some give up what tfloop promises, and only show what that costs.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfloop_cli.__main__ import HUGE_PAGES
from tfloop_cli.config.loading import load
from tfloop_cli.engine import loop, optimizers, runtime
from tfloop_cli.engine.data import Data, build_data
from tfloop_cli.engine.data.pipeline import PipelineBatches
from tfloop_cli.engine.kernels.native import Native
from tfloop_cli.engine.kernels.patching import original_implementations
from tfloop_cli.engine.kernels.word_mean import WordMean
from tfloop_cli.engine.optimizers.run_optimizer import RunOptimizer
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.training.non_finite import NonFiniteGuard
from tfloop_cli.engine.training.setup import create_state
from tfloop_cli.registry import models, tasks

import keras  # isort: skip
import tensorflow as tf  # isort: skip
from tensorflow.python.framework import ops  # isort: skip

Change = Callable[[ExitStack], None]


class Repeated:
    """One batch, again and again."""

    def __init__(self, data: Data) -> None:
        feed = data.batch_iterator(0, 1)
        feed.set_epoch(0)
        self._batch = next(feed.batches)
        self.batches = self

    def set_epoch(self, epoch: int) -> None:
        pass

    def __next__(self) -> tuple[tf.Tensor, tf.Tensor]:
        return self._batch


@contextmanager
def grappler(**options: bool) -> Iterator[None]:
    """Traced and first run within it, a function is rewritten as `options` say."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options(options)
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options(dict.fromkeys(options, True) | before)


def changes() -> dict[str, Change]:
    """Name -> what is different while a loop is traced."""

    def replace(target: Any, name: str, other: Any) -> Change:
        return lambda stack: stack.enter_context(mock.patch.object(target, name, other))

    def library(owner: Any) -> Change:
        return lambda stack: stack.enter_context(original_implementations(owner))

    def unwatched(self: RunOptimizer, gradients: Any, variables: Any, loss: Any) -> None:
        self._update(gradients, variables)

    gradients = ops.gradient_registry._registry

    def no_sums(values: Any, metrics: Any) -> tf.Tensor:
        return tf.zeros(len(metrics) + 1, tf.float64)

    return {
        "as it is": lambda stack: None,
        "TensorFlow's own gradient of biases": library(gradients["BiasAdd"]),
        "Keras' own dense layers": library(keras.layers.Dense),
        "TensorFlow's kernels, not tfloop's": replace(Native, "threads", 0),
        "tfloop's kernels, in TensorFlow's usual executor": replace(loop, "suits_single_thread", lambda state: False),
        "Keras' own batch norm": library(keras.layers.BatchNormalization),
        "Keras' own dense layers of attention": library(keras.layers.EinsumDense),
        "Keras' own attention": library(keras.layers.MultiHeadAttention),
        "Keras' own layer norm": library(keras.layers.LayerNormalization),
        "TensorFlow's own gelu": library(tf.nn),
        "words' vectors side by side": replace(WordMean, "sparsely", False),
        "Keras' own update of weights": replace(optimizers, "fuse", lambda optimizer: None),
        "batches from a tf.data pipeline": replace(Data, "feed", _streamed),
        "one batch repeated": replace(Data, "feed", _repeated()),
        "with the arithmetic optimizer": lambda stack: stack.enter_context(grappler(arithmetic_optimization=True)),
        "without sums of metrics": replace(loop, "sums", no_sums),
        "without a look at the loss": replace(RunOptimizer, "_apply", unwatched),
        "without a look at the state": replace(TrainState, "is_finite", lambda self: True),
        "without a copy of the state": replace(NonFiniteGuard, "_keep", lambda self: None),
    }


def _streamed(self: Data, first_step: int, last_step: int) -> PipelineBatches:
    return PipelineBatches(lambda step: self.batches(step, last_step), first_step)


def _repeated() -> Callable[..., Any]:
    own = Data.feed

    def feed(self: Data, *steps: int) -> Repeated:
        with mock.patch.object(Data, "feed", own):
            return Repeated(self)

    return feed


class Contender:
    """A loop of its own, traced with a change."""

    def __init__(self, config: Any, data: Data, change: Change) -> None:
        task = tasks.build(config.task, data.spec)
        self._steps, self._done = data.steps_per_epoch, 0
        with ExitStack() as stack:
            change(stack)
            state = create_state(models.build(config.model, data.spec), task, data.spec, config, 10**6)
            self._keep = NonFiniteGuard._keep
            feed = data.batch_iterator(0, 10**6)
            self._guard = NonFiniteGuard(loop.compile_steps(task, state, config), state, data, feed, stop=True)
            self.train(2)

    def train(self, count: int) -> None:
        """So many steps, in calls that end with an epoch."""
        while count:
            epoch, step = divmod(self._done, self._steps)
            with mock.patch.object(NonFiniteGuard, "_keep", self._keep):
                if not step:
                    self._guard.start_epoch(epoch)
                now = min(count, self._steps - step)
                self._guard.run_steps(now)
            self._done, count = self._done + now, count - now


def main() -> None:
    """Times all in turn and prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--steps", type=int, default=40, help="of one timing: as many as a call takes")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    if "GLIBC_TUNABLES" not in os.environ:
        print(f"note: `tfloop train` has GLIBC_TUNABLES={HUGE_PAGES}; this process has not")

    config = runtime.setup(load([options.config], sets=options.set).config)
    data = build_data(config)
    chosen = {name: change for name, change in changes().items() if name in (options.only or changes())}
    runs = {name: Contender(config, data, change) for name, change in chosen.items()}
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run.train(options.steps)
            spent[name].append((time.perf_counter() - started) / options.steps * 1e3)
    kept = {name: times[1:] for name, times in spent.items()}  # the first round warms up
    first = next(iter(kept.values()))
    print(f"{options.config}: medians of {options.rounds} rounds of {options.steps} steps")
    for name, times in kept.items():
        speed = statistics.median(base / own for base, own in zip(first, times, strict=True))
        print(f"{statistics.median(times):9.3f} ms a step  {speed:6.3f} of the speed  {name}")


if __name__ == "__main__":
    main()
