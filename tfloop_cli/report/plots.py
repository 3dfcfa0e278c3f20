"""Curves and confusion matrix as PNG files, by matplotlib: the same bytes for the same run."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfloop_cli.errors import TfloopError
from tfloop_cli.report.classes import confusion_matrix, most_confused
from tfloop_cli.report.comparison import curves_of, run_names
from tfloop_cli.report.reading import ReportedRun
from tfloop_cli.report.results import SPLITS, metric_names, points_of
from tfloop_cli.report.test_split import MAX_MATRIX

DPI, MAX_IN_CELLS = 120, 12  # classes up to which the cells of a matrix have their counts
COLORS = {"train": "#d97706", "validation": "#1d5fd1"}


def figure_class() -> Any:
    """Returns `Figure` of matplotlib.

    Raises:
        TfloopError: matplotlib is not installed (exit code 2).
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TfloopError(f"`--png` needs matplotlib: {error}", hint="run `pip install 'tfloop[report]'`") from error
    return Figure


def plots(run: ReportedRun) -> dict[str, bytes]:
    """Returns name of a plot -> content of a PNG file: `curves`, and `confusion-matrix` if there are classes.

    Raises:
        TfloopError: matplotlib is not installed (exit code 2).
    """
    found, new_figure = {}, figure_class()
    if epochs := run.record.epochs:
        metrics = metric_names(epochs)
        figure = new_figure(figsize=(5 * len(metrics), 3.6), layout="constrained")
        for axes, metric in zip(_axes(figure, metrics), metrics, strict=True):
            for split in SPLITS:
                if points := points_of(epochs, split, metric):
                    axes.plot(*zip(*points, strict=True), label=split, color=COLORS[split], marker=".")
            axes.legend()
        found["curves"] = png(figure)
    if run.labels is not None and run.outputs is not None:
        figure = new_figure(figsize=(7, 6), layout="constrained")
        _draw_matrix(figure, run, confusion_matrix(run.labels, run.outputs.scores.argmax(axis=1), len(run.class_names)))
        found["confusion-matrix"] = png(figure)
    return found


def plots_of_several(runs: Sequence[ReportedRun]) -> dict[str, bytes]:
    """Returns `curves` -> content of a PNG file with one chart per metric, and one line per run; {} without epochs.

    Raises:
        TfloopError: matplotlib is not installed (exit code 2).
    """
    new_figure, records = figure_class(), [run.record for run in runs]
    charts = curves_of(records, run_names(records))
    if not charts:
        return {}
    figure = new_figure(figsize=(5 * len(charts), 3.6), layout="constrained")
    for axes, lines in zip(_axes(figure, list(charts)), charts.values(), strict=True):
        drawn = [axes.plot(*zip(*line.points, strict=True), marker=".")[0] for line in lines]
        _legend(axes, drawn, [line.name for line in lines])
    return {"curves": png(figure)}


def _axes(figure: Any, titles: Sequence[str]) -> Iterator[Any]:
    """Yields an empty chart over the epochs for each title."""
    for axes, title in zip(np.atleast_1d(figure.subplots(1, len(titles))), titles, strict=True):
        axes.set_title(title, parse_math=False)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        yield axes


def _legend(axes: Any, drawn: Sequence[Any], names: Sequence[str]) -> None:
    for text in axes.legend(drawn, [f" {name}" for name in names]).get_texts():  # `_name` would have no entry
        text.set_parse_math(False)  # `$` in a name is a character


def _draw_matrix(figure: Any, run: ReportedRun, counts: np.ndarray) -> None:
    chosen = most_confused(counts, MAX_MATRIX)
    counts, names = counts[np.ix_(chosen, chosen)], [run.class_names[index] for index in chosen]
    axes = figure.subplots()
    image = axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="fraction of the true class")
    places = range(len(names))
    plain = {"parse_math": False}  # `$` in the name of a class is a character
    axes.set_xticks(places, names, rotation=90, **plain)
    axes.set_yticks(places, names, **plain)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if len(names) <= MAX_IN_CELLS:
        for row, column in np.ndindex(counts.shape):
            axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=8)


def png(figure: Any) -> bytes:
    """Returns a figure as a PNG file."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    return content.getvalue()
