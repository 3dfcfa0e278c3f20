"""A baseline for `tfloop evaluate`: the metrics of another run, and how far they may be missed."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.files import MAX_JSON_BYTES, SCHEMA, disk_errors, parse_json, read_file, read_json
from tfloop_cli.metric_modes import mode_of
from tfloop_cli.runs import folder
from tfloop_cli.runs.checkpoints import is_checkpoint
from tfloop_cli.runs.folder import RunFolder, run_of
from tfloop_cli.thresholds import Threshold, parse_thresholds

TOLERANCE = "--tolerance"


@dataclass(frozen=True)
class Tolerance(Threshold):
    """A limit that follows from the metric of a baseline.

    Attributes:
        allowed: how much worse than the baseline the metric may be (absolute).
        baseline: the metric of the baseline.
        source: the baseline, as typed.
        examples: on which the baseline was evaluated; None if it is not known.
    """

    allowed: float = 0.0
    baseline: float = math.nan
    source: str = ""
    examples: int | None = None

    @property
    def is_lower(self) -> bool:
        """Whether the limit is the lowest allowed value."""
        return mode_of(self.metric) == "max"

    @property
    def typed(self) -> str:
        """The option with its value."""
        return f"{self.option} {self.metric}={self.allowed:g}"

    def failure(self, metrics: Mapping[str, float]) -> str | None:
        """Returns a message with the baseline if the metric is too much worse; None if it is not."""
        found = super().failure(metrics)
        about = f"the baseline {self.source} has {self.baseline:.6g}, and the tolerance is {self.allowed:g}"
        return f"{found}; {about}" if found else None


def tolerances(baseline: str | None, texts: Iterable[str], split: str, runs_dir: Path) -> list[Tolerance]:
    """Returns the limits that `--baseline` and `--tolerance` set.

    Args:
        baseline: a run folder, the name of a run, summary.json, or a file with the documents of `evaluate --json`.
        texts: the values of `--tolerance`, METRIC=X.
        split: the split that is evaluated.
        runs_dir: the parent folder of all runs.

    Raises:
        TfloopError: one option without the other, a baseline that cannot be read or lacks a metric, or a metric whose
            name does not show whether higher values are better (exit code 2).
    """
    wanted = [
        (one.metric, one.limit) for one in parse_thresholds(texts, (), option=TOLERANCE, example="accuracy=0.005")
    ]
    if baseline is None and not wanted:
        return []
    if baseline is None or not wanted:
        lacking = "--baseline RUN" if baseline is None else "--tolerance accuracy=0.005"
        raise TfloopError("`--baseline` and `--tolerance` need each other", hint=f"add `{lacking}`")
    metrics, problems, found = dict(_metrics_of(baseline, split, runs_dir)), [], []
    examples = metrics.pop("examples", None)
    for metric, allowed in wanted:
        place, mode, value = f"{TOLERANCE} {metric}={allowed:g}", mode_of(metric), metrics.get(metric)
        if allowed < 0:
            problems.append(Problem("must not be negative", place))
        elif mode is None:
            hint = "use `--fail-under` or `--fail-over`"
            problems.append(
                Problem("the name of the metric does not show if higher values are better", place, hint=hint)
            )
        elif not _is_finite(value):
            known = [name for name, one in metrics.items() if _is_finite(one)]
            lacks = f"the `{metric}` of the baseline {baseline} is no finite number"
            lacks = lacks if metric in metrics else f"the baseline {baseline} has no `{metric}`"
            problems.append(Problem(lacks, place, hint=f"it has {', '.join(f'`{name}`' for name in known) or 'none'}"))
        else:
            limit = value - allowed if mode == "max" else value + allowed
            limit = float(f"{limit:.12g}")  # 0.3 - 0.1 is 0.19999999999999998
            found.append(Tolerance(TOLERANCE, metric, limit, allowed, value, baseline, examples))
    if problems:
        raise TfloopError(problems=problems)
    return found


def compare_examples(thresholds: Iterable[Threshold], examples: int, warn: Callable[[str], None]) -> None:
    """Warns if a baseline was evaluated on another number of examples: its metrics may not be comparable."""
    others = {(one.source, one.examples) for one in thresholds if isinstance(one, Tolerance)}
    for source, count in others:
        if isinstance(count, int) and count != examples:
            warn(f"the baseline {source} was evaluated on {count:,} examples, not {examples:,}: is it the same data?")


def _is_finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _metrics_of(baseline: str, split: str, runs_dir: Path) -> Mapping[str, Any]:
    """Returns the metrics of a split, and its `examples`."""
    path = Path(baseline)
    if path.is_file():
        documents = _documents(path)
    else:
        found = folder.find(baseline, runs_dir)
        run = run_of(found) if is_checkpoint(found) else RunFolder(found)
        path, documents = run.summary, [read_json(run.summary)]
    by_split: dict[str, Mapping[str, Any]] = {}
    for one in documents:
        splits = _splits_of(one)
        if splits and one.get("schema", SCHEMA) != SCHEMA:
            problem = f"the baseline {path} has schema {one['schema']!r}, and this version of tfloop reads {SCHEMA}"
            raise TfloopError(problem, hint="evaluate that run with this version: `tfloop evaluate RUN --json`")
        by_split |= splits
    if split not in by_split:
        hint = (
            f"it has metrics of {', '.join(by_split)}" if by_split else "expected what `tfloop evaluate --json` prints"
        )
        raise TfloopError(f"the baseline {path} has no metrics of the split `{split}`", hint=hint)
    return by_split[split]


def _splits_of(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Returns the metrics in a document: of `evaluate --json`, or in summary.json."""
    if document.get("event") == "evaluation":
        metrics = document.get("metrics")
        known = {"examples": document.get("examples"), **metrics} if isinstance(metrics, dict) else None
        found = {document.get("split"): known}
    else:
        best = document.get("best") or document.get("final")
        found = {"validation": best.get("validation") if isinstance(best, dict) else None}
        evaluations = document.get("evaluations")
        found |= evaluations if isinstance(evaluations, dict) else {}
    return {str(split): metrics for split, metrics in found.items() if isinstance(metrics, dict)}


def _documents(path: Path) -> list[dict[str, Any]]:
    """Returns the JSON objects in a file: one that is indented, or one per line."""
    with disk_errors(path):
        try:
            text = read_file(path, MAX_JSON_BYTES).decode()
        except ValueError as error:
            raise TfloopError(f"--baseline {path}: {error}") from error
    try:
        values = [parse_json(text)]
    except (ValueError, RecursionError):
        values = []
        for line in text.splitlines():
            try:
                values.append(parse_json(line))
            except (ValueError, RecursionError):
                continue
    return [one for one in values if isinstance(one, dict)]
