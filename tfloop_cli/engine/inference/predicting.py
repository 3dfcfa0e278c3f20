"""Runs a trained model on chunks of inputs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tfloop_cli.engine.data.batch_sizes import batch_size_of
from tfloop_cli.engine.inference.inputs import Inputs
from tfloop_cli.engine.trained_run import TrainedRun


@dataclass(frozen=True)
class Predictions:
    """What the model predicts for a chunk of inputs.

    Attributes:
        names, kept: see `Inputs`.
        scores: of the inputs without an error: probabilities [usable, classes], or numbers [usable, numbers].
        errors: see `Inputs`; also of inputs for which the model returned no finite numbers.
    """

    names: np.ndarray
    scores: np.ndarray
    errors: Mapping[int, str]
    kept: pa.Table | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def usable(self) -> np.ndarray:
        """Which inputs have scores, bool [inputs]."""
        usable = np.ones(len(self.names), bool)
        usable[list(self.errors)] = False
        return usable


def default_batch_size(run: TrainedRun) -> int:
    """Returns the batch size with which the run was evaluated: with another one, results may differ in rounding."""
    return batch_size_of(run.config, int(run.checkpoint.manifest.get("train_examples") or 0))


def predict(run: TrainedRun, inputs: Iterable[Inputs], batch_size: int | None = None) -> Iterator[Predictions]:
    """Yields the predictions for each chunk of inputs.

    Args:
        run: the trained model.
        inputs: chunks, see `Reader`. They are read one at a time: `ahead` reads them in another thread.
        batch_size: how many inputs the model sees at once; None: see `default_batch_size`.

    Raises:
        TfloopError: the task predicts neither classes nor numbers (exit code 2); see also `Reader`.
    """
    size = batch_size or default_batch_size(run)
    for chunk in inputs:
        found = [np.asarray(run.evaluation_scores(batch)) for batch in chunk.batches(size)]
        scores = np.concatenate(found) if found else np.zeros((0, run.spec.outputs), np.float32)
        yield _checked(chunk, scores.reshape(len(scores), int(np.prod(scores.shape[1:]))))


def _checked(chunk: Inputs, scores: np.ndarray) -> Predictions:
    finite = np.isfinite(scores).all(axis=1)
    if finite.all():
        return Predictions(chunk.names, scores, chunk.errors, chunk.kept)
    usable = np.delete(np.arange(len(chunk)), list(chunk.errors))
    wrong = {int(number): "the model's output is not finite" for number in usable[~finite]}
    return Predictions(chunk.names, scores[finite], {**chunk.errors, **wrong}, chunk.kept)
