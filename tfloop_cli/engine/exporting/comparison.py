"""Compares an exported model in its own runtime with the run that it comes from."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.structures import map_structure, named_values
from tfloop_cli.engine.determination import r2
from tfloop_cli.engine.exporting.examples import ExportExamples
from tfloop_cli.engine.exporting.model import Arrays, Output, Runtime
from tfloop_cli.engine.trained_run import TrainedRun

BATCH = 128  # examples; the last batch is smaller
ROUNDING = 1e-9  # of a difference of two accuracies
LARGEST_ERROR = 0.01  # of a probability, or relative of a number, in float32: more is no rounding, but another model
WARM_UP, TIMED = 3, 30  # calls with one example
EQUAL = 1e-8  # of the sum of squares of numbers that are all equal


@dataclass(frozen=True)
class Comparison:
    """How an exported model differs from its run.

    Attributes:
        examples: their number.
        origin: where they come from.
        max_difference: the largest difference of a probability, or of a number in the target's units.
        relative_difference: of numbers, divided by the number or by the deviation of the run's numbers, whichever is
            larger; of probabilities `max_difference`.
        equal_classes: fraction of examples with the same most probable class; None for numbers.
        metric: "accuracy" or "r2".
        run_metric, metric_value: of the run and of the exported model; None if the targets are unknown.
        drop: how much worse the metric is; without targets at most so much, see `compare`.
        latency_ms: milliseconds per call with one example, the median.
    """

    examples: int
    origin: str
    max_difference: float
    relative_difference: float
    equal_classes: float | None
    metric: str
    run_metric: float | None
    metric_value: float | None
    drop: float
    latency_ms: float


@contextmanager
def full_float32() -> Iterator[None]:
    """A context in which GPUs multiply in float32; by default they round the factors to TF32, with 10 bits."""
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(enabled)


def run_scores(run: TrainedRun, examples: ExportExamples) -> np.ndarray:
    """Returns what the run computes: probabilities, or numbers in the target's units, [examples, outputs]."""
    count = len(named_values(examples.inputs)[0][1])
    batches = [slice(start, start + BATCH) for start in range(0, count, BATCH)]
    return np.concatenate([run.scores(map_structure(partial(_part, batch), examples.inputs)) for batch in batches])


def _part(batch: slice, values: np.ndarray) -> tf.Tensor:
    return tf.constant(values[batch])


def compare(
    expected: np.ndarray,
    examples: ExportExamples,
    arrays: Arrays,
    compute: Runtime,
    output: Output,
) -> Comparison:
    """Runs an exported model on examples and compares it with its run.

    The drop is that of the accuracy. For numbers it is that of R2, relative to 1 - R2 if that is more than 1. Without
    targets it is the fraction of other classes, or 1 - R2 of the exported model's numbers as predictions of the run's;
    so it is for a constant target, whose R2 shows nothing.

    Args:
        expected: of `run_scores`.
        examples: of the same order.
        arrays: the examples as the exported model receives them.
        compute: runs the exported model.
        output: what it returns.
    """
    parts = [compute({name: one[start : start + BATCH] for name, one in arrays.items()})
             for start in range(0, len(expected), BATCH)]  # fmt: skip
    found = np.concatenate(parts).astype(np.float64)
    latency = _latency(compute, {name: one[:1] for name, one in arrays.items()})
    found = _softmax(found) if output == "logits" else found
    if found.shape != expected.shape or not np.isfinite(found).all():
        found = np.full(expected.shape, np.nan)
    differences = np.abs(found - expected)
    sizes = np.maximum(np.abs(expected), expected.std(axis=0)) if output == "prediction" else np.ones(1)
    largest = float(np.max(differences))
    about = {
        "examples": len(expected),
        "origin": examples.origin,
        "max_difference": largest,
        "relative_difference": float(np.max(differences / np.where(sizes > 0, sizes, 1))),
        "latency_ms": latency,
    }
    if output == "prediction":
        known = examples.targets is not None
        run_metric, value = (r2(examples.targets, one) if known else None for one in (expected, found))
        if known and np.ptp(examples.targets, axis=0).any():
            drop = (run_metric - value) / max(1, 1 - run_metric)
        else:
            drop = 1 - _agreement(expected, found)
        drop = float("nan") if np.isnan(largest) else drop
        return Comparison(**about, equal_classes=None, metric="r2", run_metric=run_metric,
                          metric_value=value, drop=drop)  # fmt: skip
    classes, own = found.argmax(axis=1), expected.argmax(axis=1)
    equal = float(np.mean(classes == own))
    run_metric, value = (
        None if examples.targets is None else float(np.mean(examples.targets == one)) for one in (own, classes)
    )
    drop = 1 - equal if value is None else run_metric - value
    drop = float("nan") if np.isnan(largest) else drop
    return Comparison(**about, equal_classes=equal, metric="accuracy", run_metric=run_metric,
                      metric_value=value, drop=drop)  # fmt: skip


def difference_problem(found: Comparison, max_drop: float, is_exact: bool) -> str:
    """Returns why an exported model differs too much from its run; "" if it does not.

    Args:
        found: how it differs.
        max_drop: the largest drop of the metric.
        is_exact: whether it may differ from the run by rounding in float32 only, or by `max_drop`.
    """
    if not math.isfinite(found.drop):
        return "its output has NaN or another shape"
    if found.drop > max_drop + ROUNDING:
        if found.metric_value is None:
            return f"its predictions differ from the run's: {found.drop:.4f} is over `--max-drop` {max_drop}"
        return (
            f"{found.metric} is {found.metric_value:.4f}, and {found.run_metric:.4f} of the run, on "
            f"{found.examples:,} examples: {found.drop:.4f} less, over `--max-drop` {max_drop}"
        )
    if is_exact and found.relative_difference > max(LARGEST_ERROR, max_drop):
        what = "probability" if found.equal_classes is not None else "number"
        return f"a {what} differs by {found.max_difference:.2g} from that of the run, which is no rounding"
    return ""


def _agreement(expected: np.ndarray, found: np.ndarray) -> float:
    """Returns R2 of an exported model's numbers as predictions of the run's; rounding is none where these are equal."""
    residual = np.sum(np.square(expected - found), axis=0)
    total = np.sum(np.square(expected - expected.mean(axis=0)), axis=0)
    total = np.maximum(total, EQUAL * np.sum(np.square(expected), axis=0))
    return float(np.mean(1 - residual / np.where(total > 0, total, 1)))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _latency(compute: Runtime, one: Arrays) -> float:
    seconds = []
    for _ in range(WARM_UP + TIMED):
        start = time.perf_counter()
        compute(one)
        seconds.append(time.perf_counter() - start)
    return 1000 * median(seconds[WARM_UP:])
