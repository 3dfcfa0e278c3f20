"""The columns of `tfloop runs list`: what can be shown, sorted and filtered by."""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from tfloop_cli.errors import TfloopError
from tfloop_cli.runs.records import RunRecord, mapping

Value = Any  # of a column: None, bool, int, float, str, or a list of numbers (`curve`)

CONFIG = "config."
_MAX_METRICS = 2  # that the default columns show


def _meta(key: str) -> Callable[[RunRecord], Value]:
    return lambda one: one.metadata.get(key)


def _component(key: str) -> Callable[[RunRecord], Value]:
    return lambda one: mapping(value).get("name") if isinstance(value := one.config_value(key), dict) else value


# Name of a column -> its value; SPLIT/METRIC and config.KEY are columns too.
FIELDS: dict[str, Callable[[RunRecord], Value]] = {
    "name": lambda one: one.name,
    "path": lambda one: str(one.run),
    "started": lambda one: one.started,
    "status": lambda one: one.status,
    "reason": lambda one: one.summary.get("reason"),
    "problem": lambda one: one.problem,
    "epochs": lambda one: one.last.get("epoch"),
    "step": lambda one: one.last.get("step"),
    "best_epoch": lambda one: one.best.get("epoch"),
    "seconds": lambda one: one.summary.get("seconds"),
    "dataset": _component("dataset"),
    "model": _component("model"),
    "task": _component("task"),
    "optimizer": _component("optimizer"),
    "seed": lambda one: one.config_value("seed"),
    "device": _meta("device"),
    "host": _meta("host"),
    "version": lambda one: mapping(one.metadata.get("versions")).get("tfloop"),
    "git_commit": _meta("git_commit"),
    "data": _meta("data"),
    "weights_sha256": lambda one: one.summary.get("weights_sha256"),
    "bytes": lambda one: folder_bytes(str(one.run)),
    "curve": lambda one: curve(one),
}
_ALLOWED = f"{', '.join(FIELDS)}, SPLIT/METRIC such as validation/accuracy, config.KEY such as config.epochs"


def value_of(record: RunRecord, column: str) -> Value:
    """Returns the value of a column; None if the run does not have it, or if it is NaN or infinite.

    Args:
        record: the run.
        column: a name in `FIELDS`, `config.KEY`, or `SPLIT/METRIC`: of the best epoch, or of an evaluation.
    """
    if column in FIELDS:
        return plain(FIELDS[column](record))
    if column.startswith(CONFIG):
        return plain(record.config_value(column.removeprefix(CONFIG)))
    split, _, metric = column.partition("/")
    evaluation = mapping(mapping(record.summary.get("evaluations")).get(split))
    if metric in evaluation:
        return plain(evaluation[metric])
    return plain(mapping(record.result.get(split)).get(metric))


def plain(value: Value) -> Value:
    """Returns the value; None for NaN and infinity, which are no results."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def require_column(column: str, option: str) -> str:
    """Returns the name of a column.

    Raises:
        TfloopError: there is no such column (exit code 2).
    """
    column = column.strip()
    split, slash, metric = column.partition("/")
    if column in FIELDS or (slash and split and metric) or (column.startswith(CONFIG) and column != CONFIG):
        return column
    near = get_close_matches(column, FIELDS, n=1)
    hint = f"did you mean `{near[0]}`? " if near else ""
    raise TfloopError(f"{option}: there is no column `{column}`", hint=f"{hint}columns are {_ALLOWED}")


def default_columns(records: Iterable[RunRecord]) -> list[str]:
    """Returns the columns that are shown if none are chosen; the metrics are those that choose the best epochs."""
    found = Counter(metric for one in records if (metric := one.monitored))
    metrics = [metric for metric, _ in found.most_common(_MAX_METRICS)]
    shown = [f"{split}/{metric}" for metric in metrics for split in ("validation", "test")]
    return ["name", "started", "status", "epochs", "model", *shown, "curve"]


def known_columns(records: Iterable[RunRecord]) -> list[str]:
    """Returns the metrics that some run has, as columns."""
    found: dict[str, None] = {}
    for one in records:
        splits = {
            **mapping(one.summary.get("evaluations")),
            **{key: one.result.get(key) for key in ("train", "validation")},
        }
        found |= {f"{split}/{metric}": None for split, metrics in splits.items() for metric in mapping(metrics)}
    return list(found)


def sort_records(records: Sequence[RunRecord], column: str, *, descending: bool) -> list[RunRecord]:
    """Returns the runs in the order of a column; those without a value come last, whichever the order."""
    keyed = [(value_of(one, column), one) for one in records]
    known = [(_sort_key(value), one) for value, one in keyed if value is not None]
    known.sort(key=lambda pair: pair[0], reverse=descending)
    return [one for _, one in known] + [one for value, one in keyed if value is None]


def _sort_key(value: Value) -> tuple[int, Any]:
    """Returns a key by which values of different types can be compared: numbers come before text."""
    if isinstance(value, bool | int | float):
        return 0, value
    return (1, value) if isinstance(value, str) else (2, str(value))


def curve(record: RunRecord) -> list[float | None]:
    """Returns the monitored validation metric of each epoch, else the training loss; of a long history, some."""
    metric, split = record.monitored, "validation"
    if metric is None or not any(mapping(one.get(split)) for one in record.sampled_epochs):
        metric, split = "loss", "train"
    values = [mapping(one.get(split)).get(metric) for one in record.sampled_epochs]
    return [float(one) if isinstance(one, int | float) else None for one in values]


def folder_bytes(path: str) -> int:
    """Returns the size of the files in a folder, in bytes; links are not followed, and what is unreadable counts 0."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(directory, name)).st_size
            except OSError:
                continue
    return total
