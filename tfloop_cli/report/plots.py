"""Curves and confusion matrix as PNG files, by matplotlib: the same bytes for the same run."""

import io
from typing import Any

import numpy as np

from tfloop_cli.errors import TfloopError
from tfloop_cli.report.classes import confusion_matrix, most_confused
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
        for axes, metric in zip(np.atleast_1d(figure.subplots(1, len(metrics))), metrics, strict=True):
            for split in SPLITS:
                if points := points_of(epochs, split, metric):
                    axes.plot(*zip(*points, strict=True), label=split, color=COLORS[split], marker=".")
            axes.set_title(metric)
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend()
        found["curves"] = png(figure)
    if run.labels is not None and run.outputs is not None:
        figure = new_figure(figsize=(7, 6), layout="constrained")
        _draw_matrix(figure, run, confusion_matrix(run.labels, run.outputs.scores.argmax(axis=1), len(run.class_names)))
        found["confusion-matrix"] = png(figure)
    return found


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
