"""Keeps the targets and the outputs of an evaluation, of the same pass that computes the metrics."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.structures import Structure, map_structure, named_values
from tfloop_cli.engine.evaluation_files import MAX_BYTES, TestOutputs
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Batch, MetricValues, Task, scores_of


class KeptOutputs:
    """Collects what an `Evaluator` computes; nothing if the task has no scores, or these are too large.

    Args:
        task: its probabilities, or the numbers that it predicts.
        examples: number of examples of the split.
        note: prints why nothing is kept.
    """

    def __init__(self, task: Task, examples: int, note: Callable[[str], None]) -> None:
        self._task, self._examples, self._note = task, examples, note
        self._targets: list[Structure] = []
        self._scores: list[np.ndarray] = []
        self._refused = False

    def evaluate(self, state: TrainState, batch: Batch) -> tuple[MetricValues, tf.Tensor | None]:
        """Returns the metrics of a batch, and its scores [batch, classes or numbers], in one graph."""
        return self._task.eval_step(state, batch), self._scores_of(state, batch[0])

    @tf.autograph.experimental.do_not_convert
    def _scores_of(self, state: TrainState, inputs: Structure) -> tf.Tensor | None:
        try:
            scores = scores_of(self._task, state, inputs)
        except Exception as error:  # of user code that training does not need
            self._refuse(f"the task's `probabilities` or `predict` fails: {str(error).partition(chr(10))[0]}")
            return None
        return None if scores is None or scores.shape.rank != 2 or not scores.dtype.is_floating else scores

    def add(self, batch: Batch, scores: tf.Tensor | None) -> None:
        """Keeps the targets and the scores of the next batch."""
        if scores is None or self._refused:
            return
        if (size := scores.shape[1] * scores.dtype.size * self._examples) > MAX_BYTES:
            self._refuse(f"they have {size / 2**20:,.0f} MiB")
            return
        self._targets.append(map_structure(np.asarray, batch[1]))
        self._scores.append(np.asarray(scores))

    def result(self, values: dict[str, np.ndarray], has_classes: bool) -> TestOutputs | None:
        """Returns what was collected; None if nothing was.

        Args:
            values: each metric's value for each example, by name.
            has_classes: whether the scores are probabilities.
        """
        if not self._scores:
            return None
        scores = np.concatenate(self._scores).astype(np.float32 if has_classes else np.float64)
        parts: list[dict[str, Any]] = [dict(named_values(one)) for one in self._targets]
        targets = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return TestOutputs(targets, scores, values.get("loss"))

    def _refuse(self, why: str) -> None:
        self._refused = True
        self._note(f"`tfloop report` lacks the outputs of the examples: {why}")
