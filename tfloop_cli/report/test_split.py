"""The sections about the test split, or other data: classes, confusion matrix, calibration, ROC, residuals."""

from collections.abc import Iterator, Sequence

import numpy as np

from tfloop_cli.report import charts
from tfloop_cli.report.blocks import Figure, Figures, Omitted, Section, Table, Text, number
from tfloop_cli.report.classes import class_scores, confusion_matrix, confusions, most_confused
from tfloop_cli.report.reading import ReportedRun
from tfloop_cli.report.statistics import calibration_error, reliability, roc
from tfloop_cli.runs.records import listed, mapping
from tfloop_cli.terminal.tables import amount

MAX_MATRIX, MAX_ROWS, MAX_NUMBERS = 30, 300, 4  # classes of the matrix and of the table; numbers of a target


def test_sections(run: ReportedRun) -> Iterator[Section | Omitted]:
    """Yields the sections that suit the outputs of a run, or why there are none."""
    part = f"Outputs of {run.other.name}" if run.other else "Test split"
    if run.outputs is None:
        yield Omitted(part, _why_no_outputs(run))
    elif run.labels is not None and not np.isnan(run.outputs.scores).any():
        yield from _of_classes(run, run.labels, run.outputs.scores)
    elif run.numbers is not None:
        yield _residuals(run, *run.numbers)
    else:
        yield Omitted(part, "the outputs are neither finite probabilities of classes nor numbers")


def _why_no_outputs(run: ReportedRun) -> str:
    if run.other:
        return "the task has neither probabilities nor numbers, or they are too large"
    if run.record.config_value("save_evaluation") is False:
        return "the run does not keep its outputs (`save_evaluation: false`)"
    if "test" not in mapping(run.record.summary.get("evaluations")):
        return "it was not evaluated"
    return f"{run.record.run.evaluation.name}/ is missing or damaged, or the task has neither probabilities nor numbers"


def _of_classes(run: ReportedRun, labels: np.ndarray, scores: np.ndarray) -> Iterator[Section | Omitted]:
    names = run.class_names
    counts = confusion_matrix(labels, scores.argmax(axis=1), len(names))
    yield _class_table(counts, names)
    yield _matrix(counts, names)
    bins = reliability(scores, labels)
    figures = [
        Figure("Reliability", charts.reliability_diagram(bins), [("s0", "accuracy"), ("s1", "mean in bin")]),
        Figure("Confidence", charts.confidence_histogram(bins)),
    ]
    error = Text(
        f"Expected calibration error (ECE): {calibration_error(bins):.4f}. It is the mean distance of confidence, the "
        "largest probability of a prediction, and accuracy, over 10 bins. Bars below the diagonal: too confident."
    )
    yield Section("calibration", "Calibration", [error, Figures(figures)])
    if len(names) == 2:
        yield _roc(scores[:, 1], labels == 1, names[1], run.shown)


def _class_table(counts: np.ndarray, names: Sequence[str]) -> Section:
    scores = class_scores(counts, names)
    shown = scores if len(scores) <= MAX_ROWS else sorted(scores, key=lambda one: (one.f1 == one.f1, one.f1))[:MAX_ROWS]
    rows = [(one.name, *map(number, (one.precision, one.recall, one.f1, one.support))) for one in shown]
    known = [one.f1 for one in scores if one.f1 == one.f1]
    note = f"Macro F1, the mean over classes: {number(float(np.mean(known)) if known else None)}."
    if len(shown) < len(scores):
        note += f" The {MAX_ROWS} classes with the lowest F1 of {len(scores):,} are shown."
    table = Table(("class", "precision", "recall", "F1", "examples"), rows, "scores of each class")
    return Section("classes", "Classes", [Text(note), table])


def _matrix(counts: np.ndarray, labels: Sequence[str]) -> Section:
    chosen = most_confused(counts, MAX_MATRIX)
    some = f" The {MAX_MATRIX} most confused of {len(labels):,} classes are shown." if len(labels) > MAX_MATRIX else ""
    figure = Figure("", charts.heat_map(counts[np.ix_(chosen, chosen)], [labels[index] for index in chosen]))
    blocks = [Text(f"Rows are true classes, columns predicted ones.{some}", "note"), Figures([figure], wide=True)]
    rows = [(one.true, one.predicted, f"{one.count:,}", f"{one.share:.1%}") for one in confusions(counts, labels)]
    pairs = Table(("true class", "predicted", "examples", "of the true class"), rows, "most confused classes", left=2)
    return Section("confusion", "Confusion matrix", [*blocks, pairs] if rows else blocks)


def _roc(scores: np.ndarray, positive: np.ndarray, name: str, shown: str) -> Section | Omitted:
    if positive.all() or not positive.any():
        return Omitted("ROC", f"{shown} has one class only")
    false_rate, true_rate, area = roc(scores, positive)
    figure = Figure("ROC", charts.roc_curve(false_rate, true_rate, name))
    return Section("roc", "ROC", [Text(f"Area under the curve (AUC) of class {name}: {area:.4f}."), Figures([figure])])


def _residuals(run: ReportedRun, targets: np.ndarray, predictions: np.ndarray) -> Section | Omitted:
    finite = np.isfinite(targets).all(axis=1) & np.isfinite(predictions).all(axis=1)
    if not finite.any():
        return Omitted("Residuals", "no prediction is finite")
    figures, count = [], targets.shape[1]
    for number_, name in zip(range(min(count, MAX_NUMBERS)), target_names(run, count), strict=False):
        true, guess = targets[finite, number_], predictions[finite, number_]
        figures.append(Figure(f"{name}: predicted over true", charts.predicted_over_true(true, guess, name)))
        figures.append(Figure(f"{name}: residuals", charts.histogram(guess - true, "predicted - true")))
    errors = np.abs(predictions[finite] - targets[finite]).mean(axis=1)
    quantiles = np.quantile(errors, [0.5, 0.9, 0.99])
    text = "Half of the absolute errors are below {}, 90% below {}, 99% below {}.".format(*map(amount, quantiles))
    if count > MAX_NUMBERS:
        text += f" The first {MAX_NUMBERS} of {count} numbers are shown."
    return Section("residuals", "Residuals", [Text(text), Figures(figures)])


def target_names(run: ReportedRun, count: int) -> list[str]:
    """Returns what the numbers of a target are called."""
    names = listed(mapping(run.encoders.get("target")).get("names"))
    if len(names) == count:
        return [str(name) for name in names]
    return ["target"] if count == 1 else [f"target {number + 1}" for number in range(count)]
