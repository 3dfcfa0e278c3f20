"""Permutation importance: how much worse a model predicts if the values of one column are exchanged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfloop_cli.engine.evaluation_files import EXTREME, extremes
from tfloop_cli.report.blocks import Omitted
from tfloop_cli.report.reading import ReportedRun
from tfloop_cli.report.statistics import cross_entropy
from tfloop_cli.runs.records import listed, mapping

PART = "Importance of columns"
REPEATS, SEED, MAX_ROWS = 10, 0, 4096  # permutations of a column; rows per call of the model
DIGITS = 4  # significant ones: the last bits depend on the machine


@dataclass(frozen=True)
class Importance:
    """The importance of the columns of a table.

    Attributes:
        columns: name -> mean and standard deviation, over repetitions, of the increase of the error.
        error: what increases.
        examples: number of examples.
    """

    columns: Mapping[str, tuple[float, float]]
    error: str
    examples: int


def column_features(run: ReportedRun) -> dict[str, list[int]]:
    """Returns name of a column of a table -> its features in the inputs; empty for other data."""
    found: dict[str, list[int]] = {}
    for one in map(mapping, listed(mapping(run.record.metadata.get("spec")).get("columns"))):
        found.setdefault(str(one.get("name")), []).extend(range(int(one.get("start", 0)), int(one.get("stop", 0))))
    return found


def why_unknown(run: ReportedRun) -> Omitted | None:
    """Returns why the importance of columns cannot be computed, without the model; None if it can."""
    if not column_features(run):
        return Omitted(PART, "the data is no table")
    if run.examples is None or set(run.examples.inputs) != {""}:
        return Omitted(PART, "the run keeps no examples")
    if run.labels is None and run.numbers is None:
        return Omitted(PART, "the run has neither probabilities of classes nor numbers")
    return None


def importance_of(run: ReportedRun, predict: Callable[[np.ndarray], np.ndarray]) -> Importance:
    """Returns the importance of each column, the largest first.

    All kept examples count, with the weights of `weights_of`: some of them were chosen by their loss.

    Args:
        run: `why_unknown` is None.
        predict: the model: inputs [rows, features] -> scores, as in `TestOutputs`.
    """
    assert run.examples is not None
    inputs, weights = run.examples.inputs[""], weights_of(run)
    error, name = _error_of(run, run.examples.positions, weights)
    before, generator = error(predict(inputs)), np.random.default_rng(SEED)
    found = {}
    for column, features in column_features(run).items():
        exchanged = np.tile(inputs, (REPEATS, 1, 1))
        for one in exchanged:
            one[:, features] = inputs[_drawn(weights, generator)][:, features]
        increases = [error(scores) - before for scores in _in_chunks(predict, exchanged)]
        found[column] = _rounded(float(np.mean(increases))), _rounded(float(np.std(increases, ddof=1)))
    ordered = dict(sorted(found.items(), key=lambda one: (-one[1][0], one[0])))
    return Importance(ordered, name, len(inputs))


def weights_of(run: ReportedRun) -> np.ndarray:
    """Returns the part of all examples that each kept one stands for, float64 [kept]; their sum is 1.

    Those with the largest and the smallest loss were kept as such and stand for themselves alone. The others, which are
    evenly spaced, stand for all the rest.
    """
    assert run.examples is not None
    assert run.outputs is not None
    positions, examples, loss = run.examples.positions, len(run.outputs.scores), run.outputs.loss
    alone = np.zeros(len(positions), bool)
    if loss is not None:
        for chosen in extremes(loss, _count_of_extremes(positions, loss)):
            alone |= np.isin(positions, chosen)
    rest = examples - int(alone.sum())
    return np.where(alone, 1, rest / max(int((~alone).sum()), 1)) / examples


def _count_of_extremes(positions: np.ndarray, loss: np.ndarray) -> int:
    """Returns how many examples with the largest loss, and with the smallest, were all kept."""
    missing = [np.flatnonzero(~np.isin(chosen, positions)) for chosen in extremes(loss)]
    return min([int(one[0]) for one in missing if len(one)], default=EXTREME)


def _drawn(weights: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Returns the examples whose values each one receives, int [kept]; a permutation if all weights are equal."""
    places = (np.arange(len(weights)) + generator.random()) / len(weights)
    drawn = np.minimum(np.searchsorted(np.cumsum(weights), places), len(weights) - 1)
    return np.asarray(generator.permutation(drawn))


def _error_of(
    run: ReportedRun, positions: np.ndarray, weights: np.ndarray
) -> tuple[Callable[[np.ndarray], float], str]:
    if run.labels is not None:
        labels = run.labels[positions]
        return lambda scores: float(weights @ cross_entropy(scores, labels)), "log loss"
    assert run.numbers is not None
    targets = run.numbers[0][positions]
    return lambda scores: float(np.sqrt(weights @ np.square(scores - targets).mean(axis=1))), "RMSE"


def _in_chunks(predict: Callable[[np.ndarray], np.ndarray], exchanged: np.ndarray) -> Sequence[Any]:
    """Returns the scores of each repetition, [repetitions, rows, ...]; the model receives a bounded number of rows."""
    repeats, rows = exchanged.shape[:2]
    flat = exchanged.reshape(repeats * rows, -1)
    scores = [predict(flat[start : start + MAX_ROWS]) for start in range(0, len(flat), MAX_ROWS)]
    joined = np.concatenate(scores)
    return list(joined.reshape(repeats, rows, *joined.shape[1:]))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
