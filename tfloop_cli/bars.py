"""Bars that a run's test score must clear: `--fail-under accuracy=0.97`, `--fail-over loss=0.2`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tfloop_cli.errors import ExitCode, Problem, TfloopError


@dataclass(frozen=True)
class Bar:
    """A bound on a metric.

    Attributes:
        option: the option it came from: "--fail-under" or "--fail-over".
        metric: its name.
        limit: at least this much, or with --fail-over at most.
    """

    option: str
    metric: str
    limit: float

    def miss(self, metrics: Mapping[str, float]) -> str | None:
        """Says by how much the bar was missed; None if it was not."""
        value = metrics[self.metric]
        if self.option == "--fail-under":
            return None if value >= self.limit else f"{self.metric} {value:.6g} is under {self.limit:g}{self._by(value)}"
        return None if value <= self.limit else f"{self.metric} {value:.6g} is over {self.limit:g}{self._by(value)}"

    def _by(self, value: float) -> str:
        return "" if math.isnan(value) else f", by {abs(value - self.limit):.6g}"


def parse_bars(fail_under: Iterable[str], fail_over: Iterable[str]) -> list[Bar]:
    """Reads the options' values.

    Raises:
        TfloopError: one is not METRIC=NUMBER (exit code 2).
    """
    bars = []
    for option, texts in (("--fail-under", fail_under), ("--fail-over", fail_over)):
        for text in texts:
            metric, _, number = text.partition("=")
            try:
                limit = float(number)
            except ValueError:
                limit = math.nan
            if not metric.strip() or not math.isfinite(limit):
                problem = "must be METRIC=NUMBER, such as accuracy=0.97"
                raise TfloopError(problems=[Problem(problem, file=f"{option} {text}")])
            bars.append(Bar(option, metric.strip(), limit))
    return bars


def require_metrics(bars: Iterable[Bar], metrics: Sequence[str]) -> None:
    """Raises TfloopError if a bar names a metric that the task does not measure (exit code 2)."""
    problems = [
        Problem(
            f"the task does not measure `{bar.metric}`",
            file=f"{bar.option} {bar.metric}={bar.limit:g}",
            hint=f"it measures {', '.join(f'`{metric}`' for metric in metrics)}",
        )
        for bar in bars
        if bar.metric not in metrics
    ]
    if problems:
        raise TfloopError(problems=problems)


def require_cleared(bars: Iterable[Bar], split: str, metrics: Mapping[str, float]) -> None:
    """Raises TfloopError with every bar that was missed (exit code 3)."""
    misses = [miss for bar in bars if (miss := bar.miss(metrics))]
    if misses:
        raise TfloopError(problems=[Problem(f"{split} {miss}") for miss in misses], code=ExitCode.BAR_MISSED)
