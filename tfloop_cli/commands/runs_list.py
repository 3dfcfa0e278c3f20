"""`tfloop runs list`: runs as a table or as JSON: chosen columns, filtered and sorted."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tfloop_cli.runs.columns import (
    CONFIG,
    FIELDS,
    Value,
    default_columns,
    known_columns,
    require_column,
    sort_records,
    value_of,
)
from tfloop_cli.runs.filters import parse_filter
from tfloop_cli.runs.records import RunRecord, list_records
from tfloop_cli.terminal.cells import printable, value_text
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.sparkline import sparkline
from tfloop_cli.terminal.tables import GAP, byte_size, columns_text, duration, number, width_of

_CURVE = 12  # characters
_LEFT = ("name", "path", "started", "status", "model", "dataset", "task", "optimizer", "curve", "problem", "host")
_DROPPED = ("curve", "model", "epochs", "started")  # of the default columns, where the screen is narrow, in this order
_MIN_NAME = 12  # characters of a name that are always shown


@dataclass(frozen=True)
class Options:
    """The options of `tfloop runs list`.

    Attributes:
        columns: their names, separated by commas; None for the default ones.
        sort: a column, with a leading `-` for descending order; None for the newest run first.
        descending: reverses the order of `sort`.
        where: conditions, which all have to be fulfilled.
        limit: the largest number of runs; None for all.
    """

    columns: str | None = None
    sort: str | None = None
    descending: bool = False
    where: Sequence[str] = ()
    limit: int | None = None


def list_runs(runs_dir: Path, options: Options, console: Console) -> None:
    """Prints the runs in a folder.

    Raises:
        TfloopError: a column or a condition is wrong, or the folder cannot be read (exit code 2 or 75).
    """
    names = [part for part in (options.columns or "").split(",") if part.strip()]
    columns = [require_column(one, "--columns") for one in names]
    key = options.sort or "-started"
    sort = require_column(key.removeprefix("-"), "--sort")
    filters = [parse_filter(text) for text in options.where]
    every = list_records(runs_dir)
    _warn_of_unknown([*columns, sort, *(one.column for one in filters)], every, console)
    found = [one for one in every if all(condition.matches(one) for condition in filters)]
    found = sort_records(found, sort, descending=key.startswith("-") != options.descending)[: options.limit]
    shown = columns or default_columns(found)
    values = [[value_of(record, column) for column in shown] for record in found]
    if console.json:
        console.document(_document(runs_dir, found, shown, values, len(every)))
    elif found:
        _print(console, shown, values, drop=not columns)
    elif every:
        console.info(f"none of the {len(every):,} runs in {runs_dir} fulfils the conditions")
    else:
        console.info(f"there are no runs in {runs_dir}; `--runs-dir DIR` looks in another folder")


def _document(
    runs_dir: Path, records: Sequence[RunRecord], columns: Sequence[str], values: Sequence[Sequence[Value]], total: int
) -> dict[str, Any]:
    always = ("name", "path", "status", "problem")
    rows = []
    for record, row in zip(records, values, strict=True):
        facts = {column: value_of(record, column) for column in always}
        rows.append(facts | dict(zip(columns, row, strict=True)))
    return {"event": "runs", "runs_dir": str(runs_dir), "total": total, "runs": rows}


def _print(console: Console, columns: Sequence[str], values: Sequence[Sequence[Value]], *, drop: bool) -> None:
    """Prints an aligned table; on a terminal, the default columns are dropped until it fits."""
    unicode = console.unicode_results
    cells = {
        column: [column.removeprefix(CONFIG), *(cell_text(column, row[place], unicode) for row in values)]
        for place, column in enumerate(columns)
    }
    if drop:
        cells = {column: texts for column, texts in cells.items() if any(texts[1:])}
        if console.stdout.isatty():
            cells = _that_fit(cells, shutil.get_terminal_size().columns, "…" if unicode else "...")
    header, *lines = columns_text(list(cells.values()), left=[column in _LEFT for column in cells])
    console.result("\n".join([console.heading(header), *lines]))


def _that_fit(cells: dict[str, list[str]], width: int, cut: str) -> dict[str, list[str]]:
    ranked = [*_DROPPED, *(one for one in reversed(cells) if one not in (*_DROPPED, "name", "status"))]
    for column in ranked:
        if _width(cells) > width:
            cells.pop(column, None)
    excess = _width(cells) - width
    if excess > 0 and "name" in cells:
        longest = max(max(map(width_of, cells["name"])) - excess, _MIN_NAME)
        cells["name"] = [_without_start(one, longest, cut) for one in cells["name"]]
    return cells


def _without_start(text: str, width: int, cut: str) -> str:
    """Returns the end of a name, which has date and random digits that tell runs of one config apart."""
    if width_of(text) <= width:
        return text
    while text and width_of(text) + len(cut) > width:
        text = text[1:]
    return cut + text


def _width(cells: dict[str, list[str]]) -> int:
    return sum(max(map(width_of, texts)) + GAP for texts in cells.values()) - GAP


def cell_text(column: str, value: Value, unicode: bool) -> str:
    """Returns the text of a cell; empty without a value."""
    if value is None:
        return ""
    if column == "started":
        return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M") if _is_date(value) else ""
    if column == "curve":
        return sparkline(value, _CURVE, unicode=unicode)
    if column == "seconds" and isinstance(value, int | float):
        return duration(value)
    if column == "bytes":
        return byte_size(value)
    if isinstance(value, float) and "/" in column:
        return number(value)
    return printable(value) if isinstance(value, str) else value_text(value)


def _is_date(value: Value) -> bool:
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True


def _warn_of_unknown(columns: Sequence[str], records: Sequence[RunRecord], console: Console) -> None:
    """Warns of a metric or config key that no run has: it may be misspelled."""
    for column in dict.fromkeys(columns):
        if records and column not in FIELDS and all(value_of(one, column) is None for one in records):
            known = known_columns(records)
            hint = "" if column.startswith(CONFIG) or not known else f"; metrics are {', '.join(known)}"
            console.warn(f"no run has `{column}`{hint}")
