"""The sections of a report on several runs: metrics beside each other, curves over each other, what differs."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfloop_cli.engine.evaluation_files import Arrays
from tfloop_cli.files import json_text
from tfloop_cli.metric_modes import mode_of
from tfloop_cli.report import charts
from tfloop_cli.report.blocks import NONE, Figure, Figures, Omitted, Section, Table, Text, number
from tfloop_cli.report.charts import Line
from tfloop_cli.report.reading import ReportedRun
from tfloop_cli.report.results import metric_names, points_of, test_intervals
from tfloop_cli.runs.comparison import Difference, Group, differences, groups, metrics_of
from tfloop_cli.runs.records import RunRecord, mapping
from tfloop_cli.terminal.cells import value_text
from tfloop_cli.terminal.tables import cut

STYLES = 8  # of lines
MAX_VALUE, MAX_NAME = 60, 28  # characters
_CHOOSING = ("test", "group", "split_by")  # keys that choose which examples are held out
_FILES = ("name", "path", "train", "validation", "test", "target")  # keys of a dataset that choose what is read


def comparison_sections(runs: Sequence[ReportedRun]) -> Iterator[Section | Omitted]:
    """Yields the sections."""
    records, names = [run.record for run in runs], run_names([run.record for run in runs])
    yield _metrics(runs, names)
    found = groups(records)
    if found:
        yield _seeds(found, names)
    yield _curves(records, names)
    yield _differences(differences(records), names)


def run_names(records: Sequence[RunRecord]) -> list[str]:
    """Returns a short name for each run; of runs with one name, with their number."""
    names = [cut(record.name, MAX_NAME) for record in records]
    return [name if names.count(name) == 1 else f"{index + 1}: {name}" for index, name in enumerate(names)]


def _metrics(runs: Sequence[ReportedRun], names: Sequence[str]) -> Section:
    metrics, intervals = [metrics_of(run.record) for run in runs], [test_intervals(run) for run in runs]
    rows, marked, same = [], set(), {split: has_same_data(runs, split) for split in ("test", "validation", "train")}
    for row, metric in enumerate(dict.fromkeys(name for one in metrics for name in one)):
        values = [one.get(metric) for one in metrics]
        split, _, name = metric.partition("/")
        cells = [number(value) for value in values]
        if split == "test":
            cells = [_with_interval(cell, one.get(name)) for cell, one in zip(cells, intervals, strict=True)]
        rows.append((metric, *cells))
        marked |= {(row, column + 1) for column in best_values(name, values) if same.get(split)}
    rows.append(("status", *(run.record.status for run in runs)))
    table = Table(("metric", *names), rows, "metrics of each run", marked=frozenset(marked))
    half = "± is half of the 95% interval of a test metric."
    note = Text(f"The best value of a metric is marked. {half}" if any(same.values()) else half, "note")
    different = " and ".join(split for split in ("test", "validation") if not same[split])
    warning = Text(f"The runs have different {different} data: no best value of it is marked.", "warning")
    return Section("result", "Result", [*([warning] if different else []), table, note])


def has_same_data(runs: Sequence[ReportedRun], split: str) -> bool:
    """Whether the metrics of runs on a split are of the same examples, as far as their folders show it."""
    keys = _CHOOSING if split == "test" else (*_CHOOSING, "validation", "limit_validation_batches")
    if len({json_text([run.record.config_value(key) for key in keys]) for run in runs}) > 1:
        return False
    if len({run.record.metadata.get("data") for run in runs}) > 1 and not _read_the_same(runs, split):
        return False
    sizes = {run.metrics.get("examples") for run in runs if run.metrics} if split == "test" else set()
    kept = [run.outputs.targets for run in runs if run.outputs is not None] if split == "test" else []
    return len(sizes) < 2 and all(_are_equal(one, kept[0]) for one in kept)


def _read_the_same(runs: Sequence[ReportedRun], split: str) -> bool:
    """Whether runs on other data than each other read the same examples with other keys, such as `ignore`.

    With the same keys, the files have changed.
    """
    datasets = [mapping(run.record.config.get("dataset")) for run in runs]
    if len({json_text(one) for one in datasets}) == 1 or any(run.outputs is None for run in runs):
        return False
    examples = [mapping(run.record.metadata.get("decisions")).get(split) for run in runs]
    read = [[one.get(key) for key in _FILES] for one in datasets]
    return None not in examples and len({json_text([*pair]) for pair in zip(examples, read, strict=True)}) == 1


def _are_equal(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def best_values(name: str, values: Sequence[float | None]) -> list[int]:
    """Returns the positions of the best values; none if the name does not show whether higher values are better."""
    known, mode = [value for value in values if value is not None], mode_of(name)
    if len(set(known)) < 2 or mode is None:
        return []
    best = min(known) if mode == "min" else max(known)
    return [index for index, value in enumerate(values) if value == best]


def _with_interval(cell: str, interval: tuple[float, float] | None) -> str:
    return f"{cell} ± {number((interval[1] - interval[0]) / 2)}" if interval else cell


def _seeds(found: Sequence[Group], names: Sequence[str]) -> Section:
    blocks: list[Any] = []
    for group in found:
        blocks.append(
            Text(f"{', '.join(names[index] for index in group.runs)}: seeds {', '.join(map(str, group.seeds))}")
        )
        rows = [
            (metric, number(mean), number(deviation), str(count))
            for metric, (mean, deviation, count) in group.metrics.items()
        ]
        blocks.append(Table(("metric", "mean", "standard deviation", "runs"), rows, "metrics over seeds"))
    return Section("seeds", "Runs that differ in seed alone", blocks)


def curves_of(records: Sequence[RunRecord], names: Sequence[str]) -> dict[str, list[Line]]:
    """Returns SPLIT/METRIC -> one line per run that has it; of the validation split, if there is one."""
    epochs, found = [record.epochs for record in records], {}
    for metric in dict.fromkeys(name for one in epochs for name in metric_names(one)):
        split = "validation" if any(points_of(one, "validation", metric) for one in epochs) else "train"
        found[f"{split}/{metric}"] = [
            Line(names[index], points, f"s{index % STYLES}")
            for index, one in enumerate(epochs)
            if (points := points_of(one, split, metric))
        ]
    return found


def _curves(records: Sequence[RunRecord], names: Sequence[str]) -> Section | Omitted:
    figures = []
    for title, lines in curves_of(records, names).items():
        legend = [(line.style, line.name) for line in lines]
        figures.append(Figure(title, charts.curves(title, lines), legend))
    return Section("curves", "Curves", [Figures(figures)]) if figures else Omitted("Curves", "no run has an epoch")


def _differences(found: Sequence[Difference], names: Sequence[str]) -> Section:
    if not found:
        return Section("differences", "What differs", [Text("Config, data, code, versions and machine are the same.")])
    rows = [(one.kind, one.key, *(_value(one, index) for index in range(len(names)))) for one in found]
    table = Table(("", "key", *names), rows, "what differs", left=2 + len(names))
    return Section("differences", "What differs", [table])


def _value(one: Difference, index: int) -> str:
    value, source = one.values[index], one.sources[index] if one.sources else None
    text = NONE if value is None else cut(value_text(value), MAX_VALUE)
    return f"{text} ({source})" if source else text
