"""Scores of classes, from how often each one was predicted as each other one."""

from collections.abc import Sequence

import numpy as np

from tfloop_cli.terminal.scores import ClassScore, Confusion

MOST_CONFUSED = 10  # pairs of classes


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Returns how often each true class (row) was predicted as each class (column): int64 [classes, classes].

    Args:
        labels: true classes, int [examples].
        predictions: predicted classes, int [examples].
        classes: their number.
    """
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def class_scores(counts: np.ndarray, names: Sequence[str]) -> list[ClassScore]:
    """Returns precision, recall and F1 of each class, NaN if the denominator is 0."""
    correct, support, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall, f1 = correct / predicted, correct / support, 2 * correct / (support + predicted)
    rows = zip(names, precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=False)
    return [ClassScore(*row) for row in rows]


def confusions(counts: np.ndarray, names: Sequence[str]) -> list[Confusion]:
    """Returns the most confused pairs of classes, the most frequent first."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [divmod(int(position), len(counts)) for position in order if wrong.flat[position]]
    return [
        Confusion(names[true], names[guess], int(wrong[true, guess]), float(wrong[true, guess] / counts[true].sum()))
        for true, guess in pairs
    ]


def most_confused(counts: np.ndarray, limit: int) -> np.ndarray:
    """Returns the classes with the most errors, as true or as predicted class: int [at most limit], ascending."""
    wrong = counts - np.diag(np.diag(counts))
    errors = wrong.sum(axis=0) + wrong.sum(axis=1)
    return np.sort(np.argsort(-errors, kind="stable")[:limit])
