"""One pass over a split with training=False: every example exactly once, in order."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data import Data
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Batch, Task, Values, wants_autograph

SECONDS_PER_CHUNK = 0.2  # so that Ctrl-C is heard


@dataclass(frozen=True)
class Evaluation:
    """What a pass measured.

    Attributes:
        split: its name.
        values: each metric's value for each example, float [examples], in the split's order.
        labels: true classes, int [examples]; None where the targets are no classes.
        predictions: the classes that the model found likeliest, int [examples]; None likewise.
    """

    split: str
    values: dict[str, np.ndarray]
    labels: np.ndarray | None = None
    predictions: np.ndarray | None = None

    @classmethod
    def of(cls, split: str, parts: Sequence[Values]) -> "Evaluation":
        """Joins the batches' values: a mean over them is weighted by examples, however ragged the last batch."""
        return cls(split, {name: np.concatenate([values[name] for values in parts]) for name in parts[0]})

    @property
    def examples(self) -> int:
        return len(next(iter(self.values.values())))

    @property
    def metrics(self) -> dict[str, float]:
        """Means over the examples, summed in float64."""
        return {name: float(np.mean(values, dtype=np.float64)) for name, values in self.values.items()}


class Evaluator:
    """The compiled evaluation step, traced once and used after every epoch.

    Args:
        state: whose models are measured; where the run keeps averaged weights, those.
        data: its splits.
        task: what to measure.
    """

    def __init__(self, state: TrainState, data: Data, task: Task) -> None:
        self._state, self._data = state, data
        graph = partial(tf.function, reduce_retracing=True, autograph=wants_autograph(task))
        self._measure = graph(lambda batch: task.eval_step(state, batch))
        self._predict = graph(lambda inputs: task.predict(state, inputs))

    def chunks(self, split: str) -> Iterator[list[Values]]:
        """Measures a split, some batches at a time; between two chunks the state is at rest."""
        batches = iter(self._data.evaluation(split))
        while chunk := self._chunk(batches):
            yield chunk

    def _chunk(self, batches: Iterator[Batch]) -> list[Values]:
        chunk: list[Values] = []
        until = time.perf_counter() + SECONDS_PER_CHUNK
        with self._state.averaged():
            for batch in batches:
                chunk.append(self._measure(batch))
                if time.perf_counter() > until:
                    break
        return chunk

    def run(self, split: str, stop: Callable[[], object]) -> Evaluation | None:
        """Measures a whole split; None if `stop` said, between two chunks, to leave it."""
        parts: list[Values] = []
        for chunk in self.chunks(split):
            parts += chunk
            if stop():
                return None
        return Evaluation.of(split, parts)

    def run_with_predictions(self, split: str) -> Evaluation:
        """Like `run`, with the true and the predicted class of each example where the task knows classes."""
        parts, labels, predictions = [], [], []
        with self._state.averaged():
            for inputs, targets in self._data.evaluation(split):
                parts.append(self._measure((inputs, targets)))
                if (predicted := self._predict(inputs)) is not None:
                    labels.append(targets)
                    predictions.append(predicted)
        evaluation = Evaluation.of(split, parts)
        if not labels:
            return evaluation
        return replace(evaluation, labels=np.concatenate(labels), predictions=np.concatenate(predictions))
