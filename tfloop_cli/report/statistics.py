"""What the targets and outputs of a split show beyond its metrics: calibration, ROC, confidence intervals."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tfloop_cli.engine.determination import r2

BINS = 10  # of confidence
Z = 1.959964  # of a 95% interval of the normal distribution
SEED, RESAMPLES, MIN_RESAMPLES, MAX_DRAWN, MAX_TOTAL = 0, 1000, 200, 50_000, 10_000_000  # of the bootstrap
TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Bin:
    """Predictions whose confidence is above `low` and at most `high`.

    Attributes:
        count: number of predictions.
        confidence: their mean confidence, in [0, 1].
        accuracy: the fraction of them that is correct, in [0, 1].
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(scores: np.ndarray, labels: np.ndarray) -> list[Bin]:
    """Returns the bins of a reliability diagram that have predictions.

    Args:
        scores: probabilities, [examples, classes].
        labels: true classes, int [examples].
    """
    confidence, correct = scores.max(axis=1).astype(np.float64), scores.argmax(axis=1) == labels
    number = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    found = []
    for one in range(BINS):
        inside = number == one
        if count := int(inside.sum()):
            means = float(confidence[inside].mean()), float(correct[inside].mean())
            found.append(Bin(one / BINS, (one + 1) / BINS, count, *means))
    return found


def calibration_error(bins: list[Bin]) -> float:
    """Returns the expected calibration error (ECE): the mean distance of confidence and accuracy over predictions."""
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.confidence - one.accuracy) for one in bins) / total if total else math.nan


def roc(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns false positive rate and true positive rate at each threshold, [thresholds + 1], and the area under it.

    Equal scores share one threshold. The area is NaN if there is one class only.

    Args:
        scores: of the second class, [examples].
        positive: whether an example has that class, bool [examples].
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.concatenate([[0], np.cumsum(positive[order])[last]]).astype(np.float64)
    alarms = np.concatenate([[0], 1 + last]) - hits
    with np.errstate(invalid="ignore"):
        true_rate, false_rate = hits / hits[-1], alarms / alarms[-1]
    return false_rate, true_rate, float(np.trapezoid(true_rate, false_rate))


def wilson(correct: float, examples: int) -> tuple[float, float]:
    """Returns the 95% interval of a fraction (Wilson 1927); it is in [0, 1], also for 0 and for 1."""
    fraction, square = correct / examples, Z**2 / examples
    center, spread = fraction + square / 2, Z * math.sqrt((fraction * (1 - fraction) + square / 4) / examples)
    low, high = (center - spread) / (1 + square), (center + spread) / (1 + square)
    return max(0.0, low), min(1.0, high)


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """Returns the 95% interval of a mean, of values [examples] with at least two examples."""
    mean, error = float(values.mean(dtype=np.float64)), float(values.std(ddof=1, dtype=np.float64))
    spread = Z * error / math.sqrt(len(values))
    return mean - spread, mean + spread


def bootstrap(examples: int, value: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the 95% intervals (percentile bootstrap) of functions of a set of examples: two arrays [functions].

    Of a large set, fewer examples are drawn, and the deviations are scaled to its size.

    Args:
        examples: of the set.
        value: receives positions of examples, drawn with replacement, int [drawn]; returns [functions].
    """
    generator, size = np.random.default_rng(SEED), min(examples, MAX_DRAWN)
    count = min(RESAMPLES, max(MIN_RESAMPLES, MAX_TOTAL // size))
    whole = value(np.arange(examples))
    drawn = np.array([value(generator.integers(examples, size=size)) for _ in range(count)])
    low, high = np.quantile(whole + (drawn - whole) * math.sqrt(size / examples), [0.025, 0.975], axis=0)
    return low, high


def regression_metrics(targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Returns rmse, mae, mse and r2, the means over the numbers of a target, from arrays [examples, numbers]."""
    errors = predictions - targets
    squares = np.square(errors).mean(axis=0)
    return {
        "rmse": float(np.sqrt(squares).mean()),
        "mae": float(np.abs(errors).mean()),
        "mse": float(squares.mean()),
        "r2": r2(targets, predictions),
    }


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the negative logarithm of the probability of the true class, float64 [examples]."""
    own = scores[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.maximum(own, TINY)))


def ranks_within(scores: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Returns whether the true class is among the `count` most probable ones, bool [examples]."""
    own = scores[np.arange(len(labels)), labels]
    return np.asarray((scores > own[:, None]).sum(axis=1) < count)
