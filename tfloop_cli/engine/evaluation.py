"""Evaluates a split with training=False: every example exactly once, in order."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data import Data
from tfloop_cli.engine.data.structures import is_several
from tfloop_cli.engine.graph_failures import explain_graph_errors
from tfloop_cli.engine.kept_outputs import KeptOutputs
from tfloop_cli.engine.kernels import fast_kernels
from tfloop_cli.engine.runtime import kernel_settings
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Batch, MetricValues, SumMetric, Task, sum_metrics_of, uses_autograph
from tfloop_cli.engine.traced_state import captured_variables

SECONDS_PER_CHUNK = 0.2  # so that Ctrl-C is handled soon
Draws = list[np.ndarray]  # the state of the random generators within a pass over a split


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        split: its name.
        values: each metric's value for each example, float [examples], in the order of the split; [examples, size] of a
            metric that is a function of a sum.
        sum_metrics: these functions, by name.
        labels: true classes, int [examples]; None if the targets are not classes.
        predictions: the most probable classes, int [examples]; None likewise.
    """

    split: str
    values: dict[str, np.ndarray]
    sum_metrics: Mapping[str, SumMetric] = field(default_factory=dict)
    labels: np.ndarray | None = None
    predictions: np.ndarray | None = None

    @property
    def examples(self) -> int:
        return len(next(iter(self.values.values())))

    @property
    def metrics(self) -> dict[str, float]:
        """Means over the examples, or functions of sums over them, computed in float64."""
        return {
            name: self.sum_metrics[name].value(np.sum(values, axis=0, dtype=np.float64), len(values))
            if name in self.sum_metrics
            else float(np.mean(values, dtype=np.float64))
            for name, values in self.values.items()
        }


class Evaluator:
    """The compiled evaluation step, traced once and used after every epoch.

    Args:
        state: its models are evaluated; with EMA, their EMA weights.
        data: its splits.
        task: the evaluation step.
        config: device, kernels, threads, compile.
        kept: collects targets and outputs of a pass; None for metrics alone.

    Attributes:
        available: whether the task has an evaluation step; otherwise there is nothing to run.
    """

    def __init__(
        self, state: TrainState, data: Data, task: Task, config: Config, kept: KeptOutputs | None = None
    ) -> None:
        self._state, self._data, self._kept = state, data, kept
        settings, autograph = kernel_settings(config), uses_autograph(task)

        def compiled(step: Callable[..., Any]) -> tf.types.experimental.PolymorphicFunction:
            converted = tf.function(step, autograph=True) if autograph else step

            def trace(*inputs: Any) -> Any:
                with fast_kernels(settings):
                    return converted(state, *inputs)

            return tf.function(trace, reduce_retracing=True, autograph=False)

        self.available = task.eval_step is not None
        self._task = task
        self._measure = compiled(kept.evaluate if kept else task.eval_step)
        self._predict = compiled(task.predict)
        self._generators: list[tf.Variable] | None = None  # known when `_measure` is traced

    def chunks(self, split: str) -> Iterator[list[MetricValues]]:
        """Evaluates a split, several batches at a time; the state does not change, also not between two chunks."""
        batches, draws = iter(self._data.evaluation(split)), Draws()
        while chunk := self._chunk(batches, draws):
            yield chunk

    def _chunk(self, batches: Iterator[Batch], draws: Draws) -> list[MetricValues]:
        chunk: list[MetricValues] = []
        until = time.perf_counter() + SECONDS_PER_CHUNK
        with self._state.use_ema_weights():
            for batch in batches:
                chunk.append(self._values(batch, draws))
                if time.perf_counter() > until:
                    break
        return chunk

    def _values(self, batch: Batch, draws: Draws) -> MetricValues:
        """Evaluates a batch. Random generators continue from `draws`, and are as before afterwards."""
        if self._generators is None:
            used = captured_variables(self._measure.get_concrete_function(batch).graph)
            self._generators = [variable for variable in used if variable.dtype.is_integer]
        training = [variable.numpy() for variable in self._generators]
        for variable, value in zip(self._generators, draws, strict=False):  # none at the beginning of a pass
            variable.assign(value)
        with explain_graph_errors(self._task, self._task.eval_step, self._state, lambda: [batch]):
            values = self._measure(batch)
        if self._kept:
            values, scores = values
            self._kept.add(batch, scores)
        draws[:] = [variable.numpy() for variable in self._generators]
        for variable, value in zip(self._generators, training, strict=True):
            variable.assign(value)
        return values

    def joined(self, split: str, parts: Sequence[MetricValues]) -> Evaluation:
        """Joins the values of batches; each example has the same weight, also in a smaller last batch."""
        values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return Evaluation(split, values, sum_metrics_of(self._task))

    def run(self, split: str, stop: Callable[[], object]) -> Evaluation | None:
        """Evaluates a whole split; None if `stop` returned true between two chunks."""
        parts: list[MetricValues] = []
        for chunk in self.chunks(split):
            parts += chunk
            if stop():
                return None
        return self.joined(split, parts)

    def run_with_predictions(self, split: str) -> Evaluation:
        """Like `run`, with the true and the predicted class of each example if its target is one class."""
        parts, labels, predictions, draws = [], [], [], Draws()
        targets = self._data.spec.targets
        has_classes = not is_several(targets) and targets.classes > 0
        with self._state.use_ema_weights(), self._state.keep_random_state():
            for batch in self._data.evaluation(split):
                parts.append(self._values(batch, draws))
                weights = batch[2:] if self._data.has_folds(split) else ()
                predicted = self._predict(batch[0], *weights) if has_classes else None
                if predicted is not None and predicted.dtype.is_integer:
                    labels.append(self._data.spec.labels_of(batch[1]))
                    predictions.append(predicted)
        evaluation = self.joined(split, parts)
        if not labels:
            return evaluation
        return replace(evaluation, labels=np.concatenate(labels), predictions=np.concatenate(predictions))
