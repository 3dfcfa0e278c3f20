"""Limits from the command line: `--max-time 30m`, and thresholds for metrics, `--fail-under accuracy=0.97`."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfloop_cli.errors import ExitCode, Problem, TfloopError


@dataclass(frozen=True)
class Threshold:
    """A limit for a metric.

    Attributes:
        option: the option that set it: "--fail-under" or "--fail-over"; in a subclass another one.
        metric: name of the metric.
        limit: the lowest allowed value; with --fail-over, the highest.
    """

    option: str
    metric: str
    limit: float

    @property
    def is_lower(self) -> bool:
        """Whether the limit is the lowest allowed value."""
        return self.option == "--fail-under"

    @property
    def typed(self) -> str:
        """The option with its value."""
        return f"{self.option} {self.metric}={self.limit:g}"

    @property
    def rule(self) -> str:
        """What is checked: "accuracy >= 0.97"."""
        return f"{self.metric} {'>=' if self.is_lower else '<='} {self.limit:g}"

    def failure(self, metrics: Mapping[str, float]) -> str | None:
        """Returns a message with the distance to the limit if the threshold failed; None if it passed.

        A threshold fails if its metric is NaN, or was not evaluated.
        """
        if self.metric not in metrics:
            return f"{self.metric} was not evaluated: `{self.typed}` could not be checked"
        value = metrics[self.metric]
        if self.is_lower:
            failed, side = not value >= self.limit, "under"
        else:
            failed, side = not value <= self.limit, "over"
        distance = "" if math.isnan(value) else f", by {abs(value - self.limit):.6g}"
        return f"{self.metric} {value:.6g} is {side} {self.limit:g}{distance}" if failed else None


def parse_thresholds(
    fail_under: Iterable[str], fail_over: Iterable[str], option: str = "--fail-under", example: str = "accuracy=0.97"
) -> list[Threshold]:
    """Parses the values of `--fail-under` and `--fail-over`; or of another `option` in place of the first.

    Raises:
        TfloopError: a value is not METRIC=NUMBER (exit code 2).
    """
    thresholds = []
    for name, texts in ((option, fail_under), ("--fail-over", fail_over)):
        for text in texts:
            metric, _, number = text.partition("=")
            try:
                limit = float(number)
            except ValueError:
                limit = math.nan
            if not metric.strip() or not math.isfinite(limit):
                problem = f"must be METRIC=NUMBER, such as {example}"
                raise TfloopError(problems=[Problem(problem, file=f"{name} {text}")])
            thresholds.append(Threshold(name, metric.strip(), limit))
    return thresholds


def require_metrics(thresholds: Iterable[Threshold], metrics: Sequence[str], split: str, splits: Sequence[str]) -> None:
    """Raises TfloopError if a threshold cannot be checked (exit code 2).

    Args:
        thresholds: to check.
        metrics: names of the metrics that the task evaluates; empty if it has no evaluation.
        split: the split that is evaluated.
        splits: the splits of the dataset.
    """
    problems = []
    for threshold in thresholds:
        place = threshold.typed
        if split not in splits:
            hint = f"the dataset has {', '.join(f'`{name}`' for name in splits)}"
            problems.append(Problem(f"the dataset has no split `{split}` to check it on", file=place, hint=hint))
        elif threshold.metric not in metrics:
            hint = f"its metrics are {', '.join(f'`{metric}`' for metric in metrics)}"
            hint = hint if metrics else "the task has no `eval_step`, so that nothing is evaluated"
            problems.append(Problem(f"the task has no metric `{threshold.metric}`", file=place, hint=hint))
    if problems:
        raise TfloopError(problems=problems)


def require_passed(thresholds: Iterable[Threshold], split: str, metrics: Mapping[str, float]) -> None:
    """Raises TfloopError with every threshold that failed or could not be checked (exit code 3)."""
    failures = [failure for threshold in thresholds if (failure := threshold.failure(metrics))]
    if failures:
        problems = [Problem(f"{split} {failure}") for failure in failures]
        raise TfloopError(problems=problems, code=ExitCode.THRESHOLD_FAILED)


def check_document(threshold: Threshold, metrics: Mapping[str, float]) -> dict[str, Any]:
    """Returns the result of a threshold as plain data: metric, rule, and the reason if it failed."""
    return {"metric": threshold.metric, "rule": threshold.rule, "failure": threshold.failure(metrics)}


def exit_code(
    thresholds: Sequence[Threshold],
    metrics: Mapping[str, float],
    code: ExitCode,
    reason: str,
    warn: Callable[[str], None],
) -> ExitCode:
    """Returns the exit code of a run; it is 0 only if the thresholds passed.

    Args:
        thresholds: to check.
        metrics: of the test split; empty if it was not evaluated.
        code: of the run without thresholds; if it is not 0, a signal has stopped the run.
        reason: why the run ended.
        warn: prints a warning if the thresholds are not checked.

    Raises:
        TfloopError: a threshold failed, or its metric was not evaluated (exit code 3).
    """
    if code == ExitCode.DONE:
        require_passed(thresholds, "test", metrics)
    elif thresholds:
        warn(f"the thresholds were not checked: {reason} stopped the run")
    return code


def parse_seconds(text: str | None, option: str = "--max-time") -> float:
    """Parses a duration (90, 90s, 30m or 1.5h) into seconds; None is infinite.

    Raises:
        TfloopError: the text is not a duration (exit code 2).
    """
    if text is None:
        return math.inf
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not match:
        message = "must be a duration, such as 90s, 30m or 1.5h"
        raise TfloopError(problems=[Problem(message, file=f"{option} {text}")])
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
