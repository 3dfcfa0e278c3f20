"""Evaluates a split with training=False: every example exactly once, in order."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data import Data
from tfloop_cli.engine.graph_failures import explain_graph_errors
from tfloop_cli.engine.kernels import fast_kernels
from tfloop_cli.engine.runtime import kernel_settings
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Batch, MetricValues, Task, uses_autograph

SECONDS_PER_CHUNK = 0.2  # so that Ctrl-C is handled soon


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        split: its name.
        values: each metric's value for each example, float [examples], in the order of the split.
        labels: true classes, int [examples]; None if the targets are not classes.
        predictions: the most probable classes, int [examples]; None likewise.
    """

    split: str
    values: dict[str, np.ndarray]
    labels: np.ndarray | None = None
    predictions: np.ndarray | None = None

    @classmethod
    def of(cls, split: str, parts: Sequence[MetricValues]) -> "Evaluation":
        """Joins the values of batches; each example has the same weight, also in a smaller last batch."""
        return cls(split, {name: np.concatenate([values[name] for values in parts]) for name in parts[0]})

    @property
    def examples(self) -> int:
        return len(next(iter(self.values.values())))

    @property
    def metrics(self) -> dict[str, float]:
        """Means over the examples, computed in float64."""
        return {name: float(np.mean(values, dtype=np.float64)) for name, values in self.values.items()}


class Evaluator:
    """The compiled evaluation step, traced once and used after every epoch.

    Args:
        state: its models are evaluated; with EMA, their EMA weights.
        data: its splits.
        task: the evaluation step.
        config: device, kernels, threads, compile.

    Attributes:
        available: whether the task has an evaluation step; otherwise there is nothing to run.
    """

    def __init__(self, state: TrainState, data: Data, task: Task, config: Config) -> None:
        self._state, self._data = state, data
        settings, autograph = kernel_settings(config), uses_autograph(task)

        def compiled(step: Callable[..., Any]) -> Callable[..., Any]:
            converted = tf.function(step, autograph=True) if autograph else step

            def trace(inputs: Any) -> Any:
                with fast_kernels(settings):
                    return converted(state, inputs)

            return tf.function(trace, reduce_retracing=True, autograph=False)

        self.available = task.eval_step is not None
        compiled_step = compiled(task.eval_step)

        def measure(batch: Batch) -> MetricValues:
            with explain_graph_errors(task, task.eval_step, state, lambda: [batch]):
                return compiled_step(batch)

        self._measure = measure
        self._predict = compiled(task.predict)

    def chunks(self, split: str) -> Iterator[list[MetricValues]]:
        """Evaluates a split, several batches at a time; the state does not change between two chunks."""
        batches = iter(self._data.evaluation(split))
        while chunk := self._chunk(batches):
            yield chunk

    def _chunk(self, batches: Iterator[Batch]) -> list[MetricValues]:
        chunk: list[MetricValues] = []
        until = time.perf_counter() + SECONDS_PER_CHUNK
        with self._state.use_ema_weights():
            for batch in batches:
                chunk.append(self._measure(batch))
                if time.perf_counter() > until:
                    break
        return chunk

    def run(self, split: str, stop: Callable[[], object]) -> Evaluation | None:
        """Evaluates a whole split; None if `stop` returned true between two chunks."""
        parts: list[MetricValues] = []
        for chunk in self.chunks(split):
            parts += chunk
            if stop():
                return None
        return Evaluation.of(split, parts)

    def run_with_predictions(self, split: str) -> Evaluation:
        """Like `run`, with the true and the predicted class of each example if the task has classes."""
        parts, labels, predictions = [], [], []
        with self._state.use_ema_weights():
            for inputs, targets in self._data.evaluation(split):
                parts.append(self._measure((inputs, targets)))
                if (predicted := self._predict(inputs)) is not None:
                    labels.append(self._data.spec.labels_of(targets))
                    predictions.append(predicted)
        evaluation = Evaluation.of(split, parts)
        if not labels:
            return evaluation
        return replace(evaluation, labels=np.concatenate(labels), predictions=np.concatenate(predictions))
