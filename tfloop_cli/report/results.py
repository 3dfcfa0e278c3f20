"""The sections with the result of a run: its metrics with confidence intervals, and their curves."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfloop_cli.files import read_file
from tfloop_cli.report import charts
from tfloop_cli.report.blocks import Card, Cards, Figure, Figures, Image, Omitted, Section, Table, Text, number
from tfloop_cli.report.charts import Line
from tfloop_cli.report.reading import ReportedRun
from tfloop_cli.report.statistics import bootstrap, mean_interval, ranks_within, regression_metrics, wilson
from tfloop_cli.runs.records import RunRecord, mapping

MAX_SAMPLES = 250_000  # bytes of an image of samples
TOLERANCE = 1e-4  # relative: a metric that is computed anew is the run's, within rounding
SPLITS = ("train", "validation")
STYLES = {"train": "s1 dashed", "validation": "s0"}
_RANKS = {"accuracy": 1, "top_3_accuracy": 3, "top_5_accuracy": 5}


def result_section(run: ReportedRun) -> Section:
    """Returns the metrics of all splits; those of the test split, or of other data, with their 95% intervals."""
    record, intervals, shown = run.record, test_intervals(run), run.metrics
    evaluations, best = mapping(record.summary.get("evaluations")), record.best
    splits = {f"{split} (epoch {best.get('epoch')})": mapping(best.get(split)) for split in SPLITS if best.get(split)}
    splits |= {split: mapping(metrics) for split, metrics in evaluations.items()}
    splits |= {f"{run.other.name} (data)": run.other.metrics} if run.other else {}  # a folder may be called `test`
    names = [name for name in dict.fromkeys(name for one in splits.values() for name in one) if name != "examples"]
    cards = [
        Card(f"{'data' if run.other else 'test'} {name}", number(shown[name]), _between(intervals.get(name)))
        for name in names if name in shown
    ]  # fmt: skip
    if not cards and best:
        split = "validation" if best.get("validation") else "train"
        cards = [Card(f"{split} {name}", number(value)) for name, value in mapping(best.get(split)).items()]
    rows = [
        (split, *(number(metrics.get(name)) for name in names), number(metrics.get("examples")))
        for split, metrics in splits.items()
    ]
    blocks: list[Any] = [Cards(cards)] if cards else [Text("The run has no epoch yet.", "note")]
    if rows:
        blocks.append(Table(("split", *names, "examples"), rows, "metrics of each split"))
    if intervals:
        size = f"{run.shown} ({number(shown.get('examples'))} examples)"
        blocks.append(Text(f"95% intervals show what the size of {size} allows.", "note"))
    return Section("result", "Result", blocks)


def test_intervals(run: ReportedRun) -> dict[str, tuple[float, float]]:
    """Returns the 95% interval of each of `run.metrics` that can be computed from the outputs.

    A metric that is computed anew and differs from that of the run, such as a weighted one, has none.
    """
    if run.outputs is None or len(run.outputs.scores) < 2:
        return {}
    found = {**_of_classes(run), **_of_numbers(run)}
    if run.outputs.loss is not None and np.isfinite(run.outputs.loss).all():
        found["loss"] = float(run.outputs.loss.mean(dtype=np.float64)), mean_interval(run.outputs.loss)
    return {name: interval for name, (value, interval) in found.items() if _agrees(run.metrics.get(name), value)}


def curves_section(run: ReportedRun) -> Section | Omitted:
    """Returns one chart per metric, with a line per split."""
    epochs = run.record.epochs
    if not epochs:
        return Omitted("Curves", "the run has no epoch yet")
    best = run.record.best.get("epoch") if len(epochs) > 1 else None
    figures = []
    for metric in metric_names(epochs):
        lines = [Line(split, points, STYLES[split]) for split in SPLITS if (points := points_of(epochs, split, metric))]
        note = "one epoch" if len(epochs) == 1 else f"vertical line: the best epoch, {best}" if best else ""
        legend = [(line.style, line.name) for line in lines]
        figures.append(Figure(metric, charts.curves(metric, lines, best), legend, note))
    if rates := [(one.get("epoch", 0), one["learning_rate"]) for one in epochs if one.get("learning_rate") is not None]:
        figures.append(Figure("learning rate", charts.curves("learning rate", [Line("", rates, "s0")])))
    return Section("curves", "Curves", [Figures(figures)])


def samples_section(run: ReportedRun) -> list[Section]:
    """Returns the last images that a generative task has made; [] if there are none."""
    for path in sorted(run.record.run.samples.glob("epoch-*.png"), reverse=True)[:1]:
        try:
            content = read_file(path, MAX_SAMPLES)
        except (OSError, ValueError):
            return []
        uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        return [
            Section("samples", "Samples", [Text(f"After the last epoch: {path.name}.", "note"), Image(uri, path.name)])
        ]
    return []


def metric_names(epochs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the metrics that some epoch has, in the order of the run."""
    return list(dict.fromkeys(name for one in epochs for split in SPLITS for name in mapping(one.get(split))))


def points_of(epochs: Sequence[Mapping[str, Any]], split: str, metric: str) -> list[tuple[float, float]]:
    """Returns (epoch, value) of a metric; [] if no epoch has it. A value that is not finite is NaN."""
    values = [mapping(one.get(split)).get(metric) for one in epochs]
    if not any(metric in mapping(one.get(split)) for one in epochs):
        return []
    numbers = [one.get("epoch", index + 1) for index, one in enumerate(epochs)]
    return list(zip(charts.finite(numbers), charts.finite(values), strict=True))


def status_lines(record: RunRecord) -> Iterator[Text]:
    """Yields what a reader must know before the numbers: how the run ended, and what is wrong with the folder."""
    reason = record.summary.get("reason")
    if record.status == "training":
        yield Text("The run is training: this is its state when the report was written.", "warning")
    elif record.status == "crashed":
        yield Text("The run did not end by itself: its process was killed.", "warning")
    elif record.status not in ("completed", "stopped early"):
        yield Text(f"The run is {record.status} (reason: {reason}).", "warning")
    if record.problem:
        yield Text(f"The run folder is damaged: {record.problem}", "warning")


def _of_classes(run: ReportedRun) -> dict[str, tuple[float, tuple[float, float]]]:
    if run.labels is None or run.outputs is None:
        return {}
    found = {}
    for name, rank in _RANKS.items():
        hits = ranks_within(run.outputs.scores, run.labels, rank)
        found[name] = float(hits.mean()), wilson(float(hits.sum()), len(hits))
    return found


def _of_numbers(run: ReportedRun) -> dict[str, tuple[float, tuple[float, float]]]:
    if run.numbers is None or not all(np.isfinite(one).all() for one in run.numbers):
        return {}
    targets, predictions = run.numbers
    metrics = regression_metrics(targets, predictions)
    value: Callable[[np.ndarray], np.ndarray] = lambda drawn: np.array(  # noqa: E731
        list(regression_metrics(targets[drawn], predictions[drawn]).values())
    )
    limits = np.array(bootstrap(len(targets), value)).T
    return {
        name: (one, (float(low), float(high)))
        for (name, one), (low, high) in zip(metrics.items(), limits, strict=True)
        if np.isfinite([low, high]).all()
    }


def _agrees(recorded: Any, computed: float) -> bool:
    if not isinstance(recorded, int | float):
        return False
    return abs(recorded - computed) <= TOLERANCE * max(abs(recorded), abs(computed)) + 1e-12


def _between(interval: tuple[float, float] | None) -> str:
    return f"95%: {number(interval[0])} to {number(interval[1])}" if interval else ""
