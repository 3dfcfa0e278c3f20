"""The output of `tfloop export`: one row per file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfloop_cli.errors import short_path
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.tables import aligned, byte_size


def show_exports(console: Console, documents: Sequence[Mapping[str, Any]]) -> None:
    """Prints exported files to stdout: aligned text, or one JSON document per file.

    Args:
        console: prints them.
        documents: facts of each file and of its comparison with the run, at least one.
    """
    if console.json:
        for document in documents:
            console.document(document)
        return
    first = documents[0]
    has_classes, measured = first["equal_classes"] is not None, first["run_metric"] is not None
    header = ["file", "size", "largest difference", *(["equal classes"] if has_classes else [])]
    header += [first["metric"]] if measured else []
    rows = [[*header, "latency"]]
    for one in documents:
        cells = [short_path(Path(one["path"])), byte_size(one["bytes"]), f"{one['max_difference']:.1e}"]
        cells += [f"{one['equal_classes']:.2%}"] if has_classes else []
        cells += [f"{one['metric_value']:.4f}"] if measured else []
        rows.append([*cells, f"{one['latency_ms']:.2f} ms"])
    heading, *lines = aligned(rows, left=1)
    console.result(console.heading(heading))
    for line in lines:
        console.result(line)
    run = (
        f"; {first['metric']} of the run: {first['run_metric']:.4f}" if measured else ", of unknown classes or numbers"
    )
    console.result("")
    console.result(f"compared with the run on {first['examples']:,} examples ({first['origin']}){run}")
