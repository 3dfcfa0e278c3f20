"""The charts of a report."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from tfloop_cli.report.statistics import Bin
from tfloop_cli.report.svg import Chart, Points, element, range_of, tag, text_element
from tfloop_cli.terminal.tables import amount

MAX_POINTS = 300  # of a line
MAX_DOTS = 500  # of a scatter plot
FEW_EPOCHS = 40  # of which each is a dot
CELL, MAX_LABEL = 34, 14  # of a confusion matrix: pixels, characters


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: shown in the legend.
        points: (x, y); y may be NaN.
        style: its class in the style sheet.
    """

    name: str
    points: Points
    style: str


def curves(metric: str, lines: Sequence[Line], best: float | None = None) -> Markup:
    """Returns a metric over the epochs: one line per split or run; the best epoch is marked."""
    points = [point for line in lines for point in line.points]
    epochs = [x for x, _ in points] or [1.0]
    label = f"{metric} over {len(set(epochs))} epoch(s): " + ", ".join(line.name for line in lines)
    span = (min(epochs), max(epochs)) if max(epochs) > min(epochs) else (epochs[0] - 1, epochs[0] + 1)
    chart = Chart(label, span, range_of(y for _, y in points), "epoch", whole_x=True)
    if best is not None:
        chart.vertical(best, f"best epoch: {best:g}")
    for line in lines:
        chart.line(thinned(line.points, MAX_POINTS), line.style, line.name, dots=len(line.points) <= FEW_EPOCHS)
    return chart.svg()


def reliability_diagram(bins: Sequence[Bin]) -> Markup:
    """Returns accuracy over confidence; a calibrated model has its bars at the diagonal."""
    chart = Chart("accuracy of predictions by their confidence", (0, 1), (0, 1), "confidence", "accuracy")
    for one in bins:
        name = f"confidence {one.low:.1f} to {one.high:.1f}: accuracy {one.accuracy:.3f} of {one.count:,}"
        chart.bar(one.low, one.high, one.accuracy, "s0", name)
    chart.line([(0, 0), (1, 1)], "ideal", "calibrated")
    chart.line([(one.confidence, one.accuracy) for one in bins], "s1", "mean confidence and accuracy", dots=True)
    return chart.svg()


def confidence_histogram(bins: Sequence[Bin]) -> Markup:
    """Returns how many predictions have which confidence."""
    most = max(one.count for one in bins)
    chart = Chart("number of predictions by their confidence", (0, 1), (0, most), "confidence", "examples")
    for one in bins:
        chart.bar(one.low, one.high, one.count, "s0", f"{one.count:,} examples")
    return chart.svg()


def roc_curve(false_rate: np.ndarray, true_rate: np.ndarray, positive: str) -> Markup:
    """Returns the true positive rate over the false positive rate, both [thresholds]."""
    label = f"ROC curve of class {positive}"
    chart = Chart(label, (0, 1), (0, 1), "false positive rate", "true positive rate")
    chart.line([(0, 0), (1, 1)], "ideal", "chance")
    points = list(zip(false_rate.tolist(), true_rate.tolist(), strict=True))
    chart.line(thinned(points, MAX_POINTS), "s0", label)
    return chart.svg()


def predicted_over_true(targets: np.ndarray, predictions: np.ndarray, name: str) -> Markup:
    """Returns predictions over targets, both [examples]; of many examples some are shown."""
    shown = np.unique(np.linspace(0, len(targets) - 1, min(MAX_DOTS, len(targets))).astype(int))
    pairs = list(zip(targets[shown].tolist(), predictions[shown].tolist(), strict=True))
    both = range_of([value for pair in pairs for value in pair])
    chart = Chart(f"predicted over true {name}", both, both, f"true {name}", "predicted")
    chart.line([(both[0], both[0]), (both[1], both[1])], "ideal", "no error")
    chart.dots(pairs, "s0 faint", 2.2)
    return chart.svg()


def histogram(values: np.ndarray, name: str) -> Markup:
    """Returns how often which values occur, of values [examples] that are finite."""
    counts, edges = np.histogram(values, bins=min(30, max(5, int(math.sqrt(len(values))))))
    chart = Chart(f"histogram of {name}", (float(edges[0]), float(edges[-1])), (0, int(counts.max())), name, "examples")
    for low, high, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True):
        chart.bar(low, high, count, "s0", f"{amount(low)} to {amount(high)}: {count:,}")
    if edges[0] < 0 < edges[-1]:
        chart.vertical(0, "no error")
    return chart.svg()


def heat_map(counts: np.ndarray, names: Sequence[str]) -> Markup:
    """Returns a confusion matrix: rows are true classes, columns predicted ones; colors are fractions of a row.

    Args:
        counts: int [classes, classes].
        names: of the classes.
    """
    classes, cell = len(names), CELL if len(names) <= 12 else 26
    labels = [_shortened(name) for name in names]
    margin = 26 + 7 * max(map(len, labels))
    totals = np.maximum(counts.sum(axis=1), 1)
    size = margin + max(classes * cell, 3 * CELL) + 4
    turned = f"translate(11 {margin + classes * cell / 2:.0f}) rotate(-90)"
    parts = [
        text_element((margin + size) / 2, 12, "predicted class"),
        tag("text", "true class", text_anchor="middle", transform=turned),
    ]
    for index, (label, name) in enumerate(zip(labels, names, strict=True)):
        middle = margin + (index + 0.5) * cell
        parts.append(text_element(margin - 6, middle + 4, label, "label", "end", name))
        turned = f"translate({middle + 4:.1f} {margin - 6}) rotate(-90)"
        parts.append(tag("text", label, class_="label", transform=turned))
    for row, column in np.ndindex(classes, classes):
        fraction = counts[row, column] / totals[row]
        parts += _cell(margin + column * cell, margin + row * cell, cell, int(counts[row, column]), float(fraction),
                       row == column, f"{names[row]} as {names[column]}")  # fmt: skip
    return element(f"confusion matrix of {classes} classes", size, margin + classes * cell + 4, parts, "matrix")


def _cell(x: float, y: float, size: float, count: int, fraction: float, correct: bool, name: str) -> list[Markup]:
    title = tag("title", f"{name}: {count:,} ({fraction:.1%} of the true class)")
    shade = 0.0 if not count else 0.08 + 0.92 * (fraction if correct else math.sqrt(fraction))
    style = "cell right" if correct else "cell wrong"
    parts = [tag("rect", title, class_=style, x=x, y=y, width=size - 1, height=size - 1, fill_opacity=f"{shade:.2f}")]
    if count:
        text = f"{count:,}" if count < 10_000 else f"{count / 1000:.0f}k"
        strong = "count strong" if shade > 0.55 else "count"
        parts.append(text_element(x + (size - 1) / 2, y + size / 2 + 3.5, text, strong))
    return parts


def bars(values: Mapping[str, tuple[float, float]], unit: str) -> Markup:
    """Returns horizontal bars: name -> (value, standard deviation), from top to bottom."""
    largest = max((abs(mean) + deviation for mean, deviation in values.values()), default=0.0) or 1.0
    height, left, width = 24, 130, 230
    parts = []
    for index, (name, (mean, deviation)) in enumerate(values.items()):
        top, length = 4 + index * height, max(0.0, mean) / largest * width
        parts.append(text_element(left - 6, top + 14, _shortened(name, 18), anchor="end", title=name))
        title = tag("title", f"{name}: {amount(mean)} ± {deviation:.2g} {unit}")
        parts.append(tag("rect", title, class_="bar s0", x=left, y=top + 3, width=max(1.0, length), height=height - 8))
        low, high = (left + min(max(0.0, mean + side * deviation) / largest, 1.0) * width for side in (-1, 1))
        parts.append(tag("line", class_="axis", x1=low, x2=high, y1=top + 11, y2=top + 11))
    return element(f"importance of {len(values)} column(s)", left + width + 10, len(values) * height + 8, parts)


def thinned(points: Points, limit: int) -> Points:
    """Returns at most `limit` of the points, evenly spread, with the last one."""
    if len(points) <= limit:
        return points
    return [points[index] for index in np.unique(np.linspace(0, len(points) - 1, limit).astype(int)).tolist()]


def finite(values: Iterable[object]) -> list[float]:
    """Returns numbers as floats; NaN for what is no finite number, such as null in a JSON file."""
    return [float(one) if isinstance(one, int | float) and math.isfinite(one) else math.nan for one in values]


def _shortened(text: str, limit: int = MAX_LABEL) -> str:
    """Returns a name without its middle if it is long: many names differ at the end."""
    return text if len(text) <= limit else f"{text[: limit // 2 - 1]}…{text[-(limit // 2) :]}"
