"""`tfloop runs show`: one run in full: result, curve, config, data, environment, checkpoints, what to do next."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfloop_cli.commands.runs_list import cell_text
from tfloop_cli.errors import TfloopError
from tfloop_cli.events import FINISHED
from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints, step_of
from tfloop_cli.runs.columns import curve, folder_bytes, plain
from tfloop_cli.runs.config_defaults import changed_keys
from tfloop_cli.runs.records import RunRecord, find_record, listed, mapping
from tfloop_cli.terminal.cells import printable, value_text
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.run_facts import command_line, data_rows
from tfloop_cli.terminal.sparkline import sparkline
from tfloop_cli.terminal.tables import aligned, byte_size, cut, duration, metrics_text

_CURVE = 60  # characters
_VALUE = 60  # characters of a value of the config
_IN_META = (
    "run_id", "data", "train_examples", "held_out_examples", "held_out", "versions", "host", "platform", "cpu", "cores",
    "device", "threads", "git_commit", "command", "folder", "resumed", "started_from", "reproduces", "best_metric",
    "code", "code_modules",
)  # fmt: skip


def show(name: str, runs_dir: Path, console: Console) -> None:
    """Prints one run.

    Raises:
        TfloopError: there is no such run, or it is damaged beyond its result (exit code 2).
    """
    record = find_record(name, runs_dir)
    found = document(record)
    if console.json:
        console.document(found)
        return
    if record.problem:
        console.warn(f"{record.run} is damaged: {printable(record.problem)}")
    unicode = console.unicode_results
    console.result("\n".join(_heading(record, found, console)))
    blocks = {
        "result": _result(record, found, unicode),
        "config: keys that differ from the defaults": _config(found),
        "data": [*_aligned(data_rows(record)), *(printable(str(note)) for note in listed(found["notes"]))],
        "environment": _environment(record, found),
        "checkpoints": _checkpoints(found),
        "resumed": _resumed(found),
        "next": _next(record, found),
    }
    for title, lines in blocks.items():
        if lines:
            console.result("\n".join(["", console.heading(title), *(f"  {line}" for line in lines)]))


def document(record: RunRecord) -> dict[str, Any]:
    """Returns everything about a run as a JSON document."""
    sources = mapping(record.metadata.get("sources"))
    return {
        "event": "run",
        "run": str(record.run),
        "name": record.name,
        "status": record.status,
        "problem": record.problem,
        "started": record.started,
        "reason": record.summary.get("reason"),
        "seconds": record.summary.get("seconds"),
        "evaluations": mapping(record.summary.get("evaluations")),
        "best": _epoch(record.best),
        "final": _epoch(record.last),
        "curve": curve(record),
        "changed": {
            key: {"value": value, "source": sources.get(key)} for key, value in changed_keys(record.config).items()
        },
        "config": record.config,
        "notes": record.summary.get("notes") or [],
        "skipped_examples": mapping(record.summary.get("skipped_examples")),
        **{key: record.metadata.get(key) for key in _IN_META},
        "weights_sha256": record.summary.get("weights_sha256"),
        "checkpoints": list(_checkpoint_facts(record)),
        "bytes": folder_bytes(str(record.run)),
    }


def _epoch(values: Mapping[str, Any]) -> dict[str, Any] | None:
    return {key: values.get(key) for key in ("epoch", "step", "train", "validation")} if values else None


def _checkpoint_facts(record: RunRecord) -> Iterator[dict[str, Any]]:
    try:
        paths = list_checkpoints(record.run.checkpoints)
    except OSError:
        return
    opened = {path: _open(path) for path in paths}
    newest = next((one for one in reversed(list(opened.values())) if isinstance(one, Checkpoint)), None)
    for path, one in opened.items():
        manifest = one.manifest if isinstance(one, Checkpoint) else {}
        yield {
            "name": path.name,
            "step": step_of(path),
            "epoch": manifest.get("epoch"),
            "bytes": folder_bytes(str(path)),
            "best": newest is not None and newest.manifest["best_step"] == step_of(path),
            "last": newest is not None and newest.path == path,
            "problem": one if isinstance(one, str) else None,
        }


def _open(path: Path) -> Checkpoint | str:
    try:
        return Checkpoint.open(path)
    except TfloopError as error:
        return error.problems[0].message


def _heading(record: RunRecord, found: Mapping[str, Any], console: Console) -> list[str]:
    facts = [found["status"], cell_text("started", found["started"], True)]
    if isinstance(found["seconds"], int | float):
        facts.append(duration(found["seconds"]))
    facts.append(byte_size(found["bytes"]))
    return [console.heading(printable(str(record.run))), "  ".join(filter(None, facts))]


def _result(record: RunRecord, found: Mapping[str, Any], unicode: bool) -> list[str]:
    rows = []
    for split, metrics in found["evaluations"].items():
        text = _metrics({name: value for name, value in mapping(metrics).items() if name != "examples"})
        examples = mapping(metrics).get("examples")
        rows.append((split, text + (f"  ({examples:,} examples)" if isinstance(examples, int) else "")))
    for label, key in (("best epoch", "best"), ("last epoch", "final")):
        if epoch := found[key]:
            parts = [_metrics(mapping(epoch["train"])), _metrics(mapping(epoch["validation"]), "val_")]
            rows.append((label, "  ".join(filter(None, [str(epoch["epoch"]), *parts]))))
    if line := sparkline(found["curve"], _CURVE, unicode=unicode):
        rows.append((record.monitored or "curve", line))
    return _aligned(rows)


def _metrics(metrics: Mapping[str, Any], prefix: str = "") -> str:
    known = {name: value for name, value in metrics.items() if isinstance(plain(value), int | float)}
    return metrics_text(known, prefix)


def _config(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for key, one in found["changed"].items():
        rows.append((key, cut(value_text(one["value"]), _VALUE), printable(str(one["source"] or ""))))
    return _aligned(rows)


def _environment(record: RunRecord, found: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in mapping(found["versions"]).items() if version)
    machine = [found["host"], found["cpu"], f"{found['cores']} cores" if found["cores"] else None, found["platform"]]
    threads = f"{found['device']}, {found['threads']} threads" if found["threads"] else found["device"]
    rows = [
        ("versions", versions), ("machine", ", ".join(str(one) for one in machine if one)), ("device", threads),
        ("git commit", found["git_commit"]), ("folder", found["folder"]),
        ("command", command_line(record)),
    ]  # fmt: skip
    for key in ("started_from", "reproduces"):
        rows.append((key.replace("_", " "), mapping(found[key]).get("run")))
    return _aligned([(label, printable(str(text))) for label, text in rows if text])


def _checkpoints(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for one in found["checkpoints"]:
        roles = ", ".join(role for role in ("best", "last") if one[role])
        epoch = f"epoch {one['epoch']}" if one["epoch"] is not None else ""
        rows.append((one["name"], epoch, byte_size(one["bytes"]), printable(one["problem"] or roles)))
    return _aligned(rows)


def _resumed(found: Mapping[str, Any]) -> list[str]:
    lines = []
    for one in map(mapping, listed(found["resumed"])):
        changes = [
            f"{change.get('key')} {value_text(change.get('before'))} -> {value_text(change.get('now'))}"
            for change in map(mapping, listed(one.get("changes")))
        ]
        started = cell_text("started", one.get("started"), True)
        lines.append("  ".join([started, f"at step {one.get('step')}", *map(printable, changes)]))
    return lines


def _next(record: RunRecord, found: Mapping[str, Any]) -> list[str]:
    """Returns the commands that suit the state of the run."""
    run, trust = shlex.quote(str(record.run)), " --trust-code" if found["code"] else ""
    if record.status == "training":
        return [f"tail -f {shlex.quote(str(record.run.metrics))}"]
    if record.problem and not found["checkpoints"]:
        return []
    commands = [] if found["reason"] in FINISHED else [f"tfloop resume {run}{trust}"]
    if found["checkpoints"]:
        commands += [f"tfloop evaluate {run}{trust}", f"tfloop predict {run} INPUT...{trust}"]
    return [printable(one) for one in [*commands, f"tfloop reproduce {run}{trust}"]]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table without a header, whose numbers of cells are equal."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    return aligned(cells, left=len(cells[0])) if cells else []
