"""`tfloop runs compare`: what differs between runs, their metrics, and statistics over runs that differ in `seed`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tfloop_cli.commands.runs_list import cell_text
from tfloop_cli.errors import TfloopError
from tfloop_cli.runs.columns import curve
from tfloop_cli.runs.comparison import Difference, Group, differences, groups, metrics_of
from tfloop_cli.runs.records import RunRecord, find_record
from tfloop_cli.terminal.cells import printable, value_text
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.sparkline import sparkline
from tfloop_cli.terminal.tables import aligned, cut, number

_CURVE = 20  # characters
_VALUE = 40  # characters of a value
_SHORT = 12  # characters of a checksum


def compare(names: Sequence[str], runs_dir: Path, console: Console) -> None:
    """Prints what differs between two or more runs.

    Raises:
        TfloopError: a run does not exist, or fewer than two are named (exit code 2).
    """
    records = {record.run.path.resolve(): record for record in (find_record(name, runs_dir) for name in names)}
    if len(records) < 2:
        raise TfloopError("compare two or more different runs", hint="`tfloop runs list` lists them")
    runs = list(records.values())
    found, grouped, metrics = differences(runs), groups(runs), [metrics_of(one) for one in runs]
    if console.json:
        console.document(_document(runs, found, grouped, metrics))
        return
    for one in runs:
        if one.problem:
            console.warn(f"{one.run} is damaged: {printable(one.problem)}")
    unicode = console.unicode_results
    blocks = {
        "runs": list(_runs(runs, unicode)),
        "what differs": list(_differences(found)),
        "metrics": list(_metrics(metrics)),
        **{
            f"mean and standard deviation: {_who(one)}": list(_statistics(one, "±" if unicode else "+/-"))
            for one in grouped
        },
    }
    lines = []
    for title, rows in blocks.items():
        text = aligned(rows, left=2 if title == "metrics" else len(rows[0])) if rows else ["nothing"]
        lines += [console.heading(title), *(f"  {line}" for line in text), ""]
    console.result("\n".join(lines[:-1]))


def _document(
    runs: Sequence[RunRecord],
    found: Sequence[Difference],
    grouped: Sequence[Group],
    metrics: Sequence[dict[str, float]],
) -> dict[str, Any]:
    return {
        "event": "comparison",
        "runs": [
            {"run": str(one.run), "name": one.name, "status": one.status, "problem": one.problem, "metrics": values}
            for one, values in zip(runs, metrics, strict=True)
        ],
        "differences": [
            {"kind": one.kind, "key": one.key, "values": one.values, "sources": one.sources or [None] * len(one.values)}
            for one in found
        ],
        "groups": [
            {
                "runs": [str(runs[position].run) for position in one.runs],
                "seeds": one.seeds,
                "metrics": {
                    key: {"mean": mean, "deviation": deviation, "count": count}
                    for key, (mean, deviation, count) in one.metrics.items()
                },
            }
            for one in grouped
        ],
    }


def _runs(runs: Sequence[RunRecord], unicode: bool) -> Iterator[list[str]]:
    for position, one in enumerate(runs, 1):
        line = sparkline(curve(one), _CURVE, unicode=unicode)
        yield [str(position), printable(one.name), one.status, cell_text("started", one.started, unicode), line]


def _differences(found: Sequence[Difference]) -> Iterator[list[str]]:
    """Yields a header and one row per difference: its kind, its key, and one value per run."""
    if found:
        yield ["", "", *(str(position) for position in range(1, len(found[0].values) + 1))]
    kind = ""
    for one in found:
        sources = one.sources or (None,) * len(one.values)
        cells = [_value(one, value, source) for value, source in zip(one.values, sources, strict=True)]
        yield [one.kind if one.kind != kind else "", printable(one.key), *cells]
        kind = one.kind


def _value(difference: Difference, value: Any, source: str | None) -> str:
    if value is None:
        return "-"
    if difference.kind in ("code", "data") and isinstance(value, str):
        return value[:_SHORT]
    if difference.key == "cpu_flags":
        return cut(" ".join(value), _VALUE) if value else "-"
    text = printable(value) if isinstance(value, str) and difference.kind != "config" else value_text(value)
    return cut(text, _VALUE) + (f" ({printable(str(source))})" if source else "")


def _metrics(metrics: Sequence[dict[str, float]]) -> Iterator[list[str]]:
    """Yields a header and one row per metric; of two runs, with the difference."""
    keys = dict.fromkeys(key for one in metrics for key in one)
    if keys:
        two = ["2 - 1"] if len(metrics) == 2 else []
        yield ["", "", *(str(position) for position in range(1, len(metrics) + 1)), *two]
    for key in keys:
        cells = ["-" if key not in one else number(one[key]) for one in metrics]
        if len(metrics) == 2:
            both = all(key in one for one in metrics)
            cells.append(_signed(metrics[1][key] - metrics[0][key]) if both else "-")
        yield [key, "", *cells]


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value)}" if value else "0"


def _who(group: Group) -> str:
    runs = ", ".join(str(position + 1) for position in group.runs)
    return f"runs {runs}, which differ in `seed` alone ({', '.join(map(value_text, group.seeds))})"


def _statistics(group: Group, sign: str) -> Iterator[list[str]]:
    for key, (mean, deviation, count) in group.metrics.items():
        fewer = "" if count == len(group.runs) else f"({count} runs)"
        yield [key, f"{number(mean)} {sign} {number(deviation)}" if count > 1 else number(mean), fewer]
