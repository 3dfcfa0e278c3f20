"""The output of `tfloop inspect data`: splits, classes, columns, examples, images and findings."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence

from tfloop_cli.data_summary import DataSummary, Finding, InputSummary, SplitSummary
from tfloop_cli.runs.documents import data_document
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.display import MAX_WIDTH
from tfloop_cli.terminal.half_blocks import half_blocks
from tfloop_cli.terminal.tables import MAX_ROWS, aligned, cut, data_table, number

MAX_CLASSES = 20  # that are shown
MAX_CELL = 40  # characters of a cell of an example
MAX_PLACES = 10  # of a finding


def show_data(console: Console, summary: DataSummary) -> None:
    """Prints inspected data to stdout: aligned text, or one JSON document."""
    for note in summary.notes:
        console.note(note)
    if console.json:
        console.document(data_document(summary))
        return
    width = shutil.get_terminal_size((MAX_WIDTH, 0)).columns
    console.result(f"{summary.dataset}, task {summary.task}")
    for input_ in summary.inputs:
        console.result(_input_line(input_))
    for heading, lines in _tables(summary, width):
        console.result("")
        console.result(console.heading(heading))
        for line in lines:
            console.result(line)
    if summary.image:
        console.result("")
        console.result(_image_line(summary))
    if console.draws_images:
        true_color = os.environ.get("COLORTERM") in ("truecolor", "24bit")
        for strip in summary.thumbnails:
            for line in [strip.label, *half_blocks(strip, true_color=true_color)]:
                console.result(line)
    _show_findings(console, summary)


def _show_findings(console: Console, summary: DataSummary) -> None:
    console.result("")
    count = len(summary.findings)
    console.result(console.heading("no findings" if not count else f"{count} finding{'' if count == 1 else 's'}"))
    for finding in summary.findings:
        console.result(f"- {finding.message}")
        for line in _place_lines(finding):
            console.result(f"  - {line}")


def _place_lines(finding: Finding) -> list[str]:
    """Returns the first places of a finding, and how many more there are; nothing if its message has the only one."""
    shown = list(finding.places[:MAX_PLACES]) if len(finding.places) > 1 else []
    left = (finding.count or 0) - len(shown)
    if not shown or left <= 0:
        return shown
    known = ": all are in the document of `--json`" if finding.count == len(finding.places) else ""
    return [*shown, f"and {left:,} more{known}"]


def _tables(summary: DataSummary, width: int) -> Iterator[tuple[str, list[str]]]:
    """Yields the heading of each table and its lines."""
    yield _first_and_rest(aligned(_split_rows(summary.splits), left=1))
    if rows := _class_rows(summary.splits):
        heading, lines = _first_and_rest(aligned(rows, left=1))
        left = len(summary.splits[0].classes or {}) - MAX_CLASSES
        more = [f"... and {left:,} more classes: all are in the document of `--json`"] if left > 0 else []
        yield heading, lines + more
    if summary.columns:
        yield _first_and_rest(data_table(summary.columns, width, "all are in the document of `--json`"))
    if summary.examples:
        yield _first_and_rest(_example_lines(summary.examples, width))


def _example_lines(examples: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """Returns a table with one row per example or, if that is too wide, one row per column of the data."""
    names = list(examples[0])
    limits = [MAX_CELL] * (len(names) - 1) + [width]
    rows = [names, *([_one_line(row.get(name, "")) for name in names] for row in examples)]
    lines = aligned([[cut(*cell) for cell in zip(row, limits, strict=True)] for row in rows], left=len(names))
    if len(names) > 2 and max(map(len, lines)) > width:
        header = ["column", *(f"example {number}" for number in range(1, len(rows)))]
        turned = [header, *([cut(cell, MAX_CELL) for cell in column] for column in zip(*rows, strict=True))]
        lines = aligned(turned[: MAX_ROWS + 1], left=len(header))
    return [cut(line, width) for line in lines]


def _first_and_rest(lines: list[str]) -> tuple[str, list[str]]:
    return lines[0], lines[1:]


def _split_rows(splits: Sequence[SplitSummary]) -> list[list[str]]:
    """Returns the table of splits, with the statistics of targets that are numbers."""
    statistics = list(splits[0].targets or {})
    repeated = any(split.repeated for split in splits)
    rows = [["split", "examples", *(["repeated"] if repeated else []), *(f"target {name}" for name in statistics)]]
    for split in splits:
        again = [f"{split.repeated or 0:,}"] if repeated else []
        cells = [" ".join(map(number, (split.targets or {})[name])) for name in statistics]
        rows.append([split.name, f"{split.examples:,}", *again, *cells])
    return rows


def _class_rows(splits: Sequence[SplitSummary]) -> list[list[str]]:
    """Returns the table of classes: how many examples of each, and which fraction of a split that is."""
    counted = [split for split in splits if split.classes is not None]
    if not counted:
        return []
    rows = [["class", *(split.name for split in counted)]]
    for name in list(counted[0].classes or {})[:MAX_CLASSES]:
        counts = [((split.classes or {}).get(name, 0), split.examples) for split in counted]
        rows.append([cut(name, MAX_CELL), *(f"{part:,} {part / all_:>6.1%}" for part, all_ in counts)])
    return rows


def _input_line(one: InputSummary) -> str:
    shape = "x".join("?" if length is None else str(length) for length in one.shape)
    text = f"input {one.name}: ".replace(" :", ":") + f"{one.dtype} {shape}"
    if not one.mean:
        return text
    means, deviations = (" ".join(map(number, values)) for values in (one.mean, one.deviation))
    return f"{text}, as the model receives it: mean {means}, deviation {deviations}"


def _image_line(summary: DataSummary) -> str:
    rows = f", one row per class: {', '.join(summary.rows)}" if summary.rows else ""
    return f"training images as the model receives them: {summary.image}{rows}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
