"""The section with the test examples, or those of other data, that the run predicts worst, and best."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfloop_cli.engine.evaluation_files import Examples, TestOutputs
from tfloop_cli.report.blocks import NONE, Example, Gallery, Omitted, Section, Table, Text, number
from tfloop_cli.report.images import data_uris
from tfloop_cli.report.reading import ReportedRun
from tfloop_cli.runs.records import Values, mapping
from tfloop_cli.terminal.tables import amount, cut

WORST, BEST = 16, 8  # examples
MAX_TEXT, MAX_CELL, MAX_COLUMNS = 400, 40, 12  # characters of a text and of a cell; columns of a row
SHOWN_VALUES = 8  # of an input that is neither an image nor described


def mistakes_section(run: ReportedRun) -> Section | Omitted:
    """Returns the worst and the best predictions of the kept examples, by their loss."""
    if run.outputs is None or run.examples is None or run.loss is None or not len(run.examples.positions):
        return Omitted("Worst and best predictions", "the run keeps no examples with a loss")
    loss = run.loss[run.examples.positions]
    order = np.argsort(-np.where(np.isnan(loss), np.inf, loss), kind="stable")
    worst, best = order[:WORST], order[::-1][:BEST]
    best = best[~np.isin(best, worst)]
    wrong = _wrong(run, run.examples.positions)
    blocks: list[Any] = []
    if wrong is not None and not wrong[worst].any():
        blocks.append(Text("No kept example is a mistake: these have the largest loss."))
    images = [] if run.image is None else data_uris([run.image[index] for index in (*worst, *best)])
    for title, chosen, shown in (("Worst", worst, images[: len(worst)]), ("Best", best, images[len(worst) :])):
        if len(chosen):
            blocks += [Text(title, "heading"), _shown(run, run.outputs, run.examples, chosen, shown, wrong)]
    blocks.append(Text(f"The order is that of the loss. Numbers in parentheses are positions in {run.shown}.", "note"))
    return Section("mistakes", "Worst and best predictions", blocks)


def _wrong(run: ReportedRun, positions: np.ndarray) -> np.ndarray | None:
    """Returns which examples have another class than predicted, bool [positions]; None for numbers."""
    if run.labels is None or run.outputs is None:
        return None
    return np.asarray(run.outputs.scores[positions].argmax(axis=1) != run.labels[positions])


def _shown(
    run: ReportedRun, outputs: TestOutputs, examples: Examples, chosen: np.ndarray, images: Sequence[str],
    wrong: np.ndarray | None,
) -> Gallery | Table:  # fmt: skip
    """Returns examples as images or texts, or as the rows of a table."""
    described = [mapping(examples.descriptions[index]) if examples.descriptions else {} for index in chosen]
    if not images and not any("text" in one for one in described):
        return _rows(run, outputs, examples, chosen, described)
    found = []
    for place, index in enumerate(chosen):
        position = int(examples.positions[index])
        true, predicted = _prediction(run, outputs, position)
        name, text = described[place].get("name"), str(described[place].get("text") or "")
        lines = [predicted, f"true: {true}" if wrong is None or wrong[index] else "", f"loss {_loss(run, position)}"]
        lines.append(cut(f"{name} ({position})" if name else f"({position})", MAX_CELL))
        is_wrong = bool(wrong is not None and wrong[index])
        image = images[place] if images else ""
        found.append(Example(image, [line for line in lines if line], is_wrong, cut(text, MAX_TEXT)))
    return Gallery(found)


def _rows(
    run: ReportedRun, outputs: TestOutputs, examples: Examples, chosen: np.ndarray, described: Sequence[Values]
) -> Table:
    """Returns examples as rows: their cells in the file if they are known, else the first values of their inputs."""
    cells = [mapping(one.get("row")) for one in described]
    columns = list(dict.fromkeys(name for one in cells for name in one))[:MAX_COLUMNS]
    if not columns:
        cells = [_values(examples, index) for index in chosen]
        columns = list(dict.fromkeys(name for one in cells for name in one))
    rows = []
    for index, row in zip(chosen, cells, strict=True):
        position = int(examples.positions[index])
        first = (f"({position})", *_prediction(run, outputs, position), _loss(run, position))
        rows.append((*first, *(cut(str(row.get(name, NONE)), MAX_CELL) for name in columns)))
    return Table(("example", "true", "predicted", "loss", *columns), rows, "examples", left=3)


def _values(examples: Examples, index: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, array in examples.inputs.items():
        values = np.ravel(array[index])[:SHOWN_VALUES]
        found |= {f"{name or 'input'}[{number_}]": amount(value) for number_, value in enumerate(values.tolist())}
    return found


def _prediction(run: ReportedRun, outputs: TestOutputs, position: int) -> tuple[str, str]:
    """Returns the true and the predicted target of an example, as texts."""
    if run.labels is not None:
        scores, names = outputs.scores[position], run.class_names
        guess = int(scores.argmax())
        probability = f"{float(scores[guess]):.1%}" if np.isfinite(scores[guess]) else "(not finite)"
        return names[int(run.labels[position])], f"{names[guess]} {probability}"
    if run.numbers is None:
        return NONE, NONE
    return _numbers(run.numbers[0][position]), _numbers(run.numbers[1][position])


def _numbers(values: np.ndarray) -> str:
    shown = ", ".join(map(amount, values[:4].tolist()))
    return f"{shown}, ..." if len(values) > 4 else shown


def _loss(run: ReportedRun, position: int) -> str:
    return number(float(run.loss[position])) if run.loss is not None else NONE
