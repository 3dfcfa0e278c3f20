"""Permutation importance: how much worse a model predicts if the values of one column are exchanged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfloop_cli.engine.evaluation_files import evenly_spaced
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

    Only the evenly spaced examples count: the others were chosen by their loss.

    Args:
        run: `why_unknown` is None.
        predict: the model: inputs [rows, features] -> scores, as in `TestOutputs`.
    """
    assert run.examples is not None
    assert run.outputs is not None
    even = np.isin(run.examples.positions, evenly_spaced(len(run.outputs.scores)))
    inputs, positions = run.examples.inputs[""][even], run.examples.positions[even]
    error, name = _error_of(run, positions)
    before, generator = error(predict(inputs)), np.random.default_rng(SEED)
    found = {}
    for column, features in column_features(run).items():
        orders = [generator.permutation(len(inputs)) for _ in range(REPEATS)]
        exchanged = np.tile(inputs, (REPEATS, 1, 1))
        for one, order in zip(exchanged, orders, strict=True):
            one[:, features] = inputs[order][:, features]
        increases = [error(scores) - before for scores in _in_chunks(predict, exchanged)]
        found[column] = _rounded(float(np.mean(increases))), _rounded(float(np.std(increases)))
    ordered = dict(sorted(found.items(), key=lambda one: (-one[1][0], one[0])))
    return Importance(ordered, name, len(inputs))


def _error_of(run: ReportedRun, positions: np.ndarray) -> tuple[Callable[[np.ndarray], float], str]:
    if run.labels is not None:
        labels = run.labels[positions]
        return lambda scores: float(cross_entropy(scores, labels).mean()), "log loss"
    assert run.numbers is not None
    targets = run.numbers[0][positions]
    return lambda scores: float(np.sqrt(np.square(scores - targets).mean())), "RMSE"


def _in_chunks(predict: Callable[[np.ndarray], np.ndarray], exchanged: np.ndarray) -> Sequence[Any]:
    """Returns the scores of each repetition, [repetitions, rows, ...]; the model receives a bounded number of rows."""
    repeats, rows = exchanged.shape[:2]
    flat = exchanged.reshape(repeats * rows, -1)
    scores = [predict(flat[start : start + MAX_ROWS]) for start in range(0, len(flat), MAX_ROWS)]
    joined = np.concatenate(scores)
    return list(joined.reshape(repeats, rows, *joined.shape[1:]))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
