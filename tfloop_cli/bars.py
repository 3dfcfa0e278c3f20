"""What the command line bounds: time, `--max-time 30m`, and a run's test score: `--fail-under accuracy=0.97`."""

import math
import re
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
            return (
                None if value >= self.limit else f"{self.metric} {value:.6g} is under {self.limit:g}{self._by(value)}"
            )
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


def require_metrics(bars: Iterable[Bar], metrics: Sequence[str], split: str, splits: Sequence[str]) -> None:
    """Raises TfloopError if a bar could never be judged (exit code 2).

    Args:
        bars: to judge.
        metrics: what the task measures.
        split: what they are judged on.
        splits: what the dataset has.
    """
    problems = []
    for bar in bars:
        place = f"{bar.option} {bar.metric}={bar.limit:g}"
        if split not in splits:
            hint = f"the dataset has {', '.join(f'`{name}`' for name in splits)}"
            problems.append(Problem(f"there is no split `{split}` to judge it on", file=place, hint=hint))
        elif bar.metric not in metrics:
            hint = f"it measures {', '.join(f'`{metric}`' for metric in metrics)}"
            problems.append(Problem(f"the task does not measure `{bar.metric}`", file=place, hint=hint))
    if problems:
        raise TfloopError(problems=problems)


def require_cleared(bars: Iterable[Bar], split: str, metrics: Mapping[str, float]) -> None:
    """Raises TfloopError with every bar that was missed (exit code 3)."""
    misses = [miss for bar in bars if (miss := bar.miss(metrics))]
    if misses:
        raise TfloopError(problems=[Problem(f"{split} {miss}") for miss in misses], code=ExitCode.BAR_MISSED)


def parse_seconds(text: str | None) -> float:
    """Reads a span of time: 90, 90s, 30m or 1.5h, in seconds; no text is forever.

    Raises:
        TfloopError: it is none of these (exit code 2).
    """
    if text is None:
        return math.inf
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not match:
        raise TfloopError(problems=[Problem("must be a time, such as 90s, 30m or 1.5h", file=f"--max-time {text}")])
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
