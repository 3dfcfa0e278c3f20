"""The sections with the facts of a run: data, config, environment, and how to repeat it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tfloop_cli.report.blocks import NONE, Code, Omitted, Section, Table, Text
from tfloop_cli.report.reading import ReportedRun
from tfloop_cli.runs.comparison import flat
from tfloop_cli.runs.config_defaults import changed_keys
from tfloop_cli.runs.records import RunRecord, listed, mapping
from tfloop_cli.terminal.cells import value_text
from tfloop_cli.terminal.run_facts import command_line, data_rows
from tfloop_cli.terminal.tables import amount, cut

MAX_COLUMNS, MAX_NAMES, MAX_VALUE = 200, 20, 120  # columns of a table, names of classes, characters of a value


def fact_sections(run: ReportedRun) -> Iterator[Section | Omitted]:
    """Yields the sections."""
    yield _data(run)
    yield _config(run.record)
    yield _environment(run.record)
    yield _again(run.record)


def _data(run: ReportedRun) -> Section:
    spec = mapping(run.record.metadata.get("spec"))
    rows = [("dataset", value_text(mapping(run.record.config.get("dataset")).get("name"))), *_spec_rows(spec)]
    rows += data_rows(run.record)
    blocks: list[Any] = [Table(("", ""), rows, "data", left=2)]
    notes = [*listed(run.record.summary.get("notes")), *listed(run.encoders.get("notes"))]
    blocks += [Text(str(note), "note") for note in dict.fromkeys(map(str, notes))]
    columns = _column_rows(run.encoders)
    if columns:
        header = ("column", "type", "missing", "distinct", "what it becomes")
        blocks.append(Table(header, columns[:MAX_COLUMNS], "columns of the table", left=2, text_last=True))
    if len(columns) > MAX_COLUMNS:
        blocks.append(Text(f"{MAX_COLUMNS} of {len(columns):,} columns are shown.", "note"))
    return Section("data", "Data", blocks)


def _spec_rows(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for role in ("inputs", "targets"):
        found = spec.get(role)
        single = isinstance(mapping(found).get("shape"), list)
        several = {"": found} if single else found if isinstance(found, dict) else dict(enumerate(listed(found)))
        for name, one in several.items():
            about = mapping(one)
            shape = "x".join("?" if length is None else str(length) for length in listed(about.get("shape")))
            kind, names = about.get("dtype") or "numbers", [str(one) for one in listed(about.get("class_names"))]
            text = f"{len(names):,} classes: {_names(names)}" if names else f"{kind} {shape or 1}"
            yield f"{role} {name}".strip(), text


def _column_rows(encoders: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns the columns of a table as `encoders.json` has them."""
    rows = []
    for one in map(mapping, listed(encoders.get("columns"))):
        if "kind" not in one:
            continue
        levels, mean, deviation = listed(one.get("levels")), one.get("mean"), one.get("deviation")
        uses = [str(one.get("note") or "")]
        if isinstance(mean, int | float) and isinstance(deviation, int | float):
            uses.append(f"mean {amount(mean)}, deviation {amount(deviation)}")
        if parts := listed(one.get("parts")):
            uses.append(", ".join(map(str, parts)))
        if levels:
            uses.append(f"{len(levels)} values: {_names([str(level) for level in levels])}")
        counts = [str(one.get(key, NONE)) for key in ("missing", "distinct")]
        rows.append((str(one.get("name")), str(one["kind"]), *counts, "; ".join(filter(None, uses))))
    return rows


def _config(record: RunRecord) -> Section | Omitted:
    config, changed = flat(record.config), changed_keys(record.config)
    if not config:
        return Omitted("Config", "config.yaml is missing or damaged")
    sources = mapping(record.metadata.get("sources"))
    rows, defaults = [], []
    for key, value in config.items():
        text = cut(value_text(value), MAX_VALUE)
        if key in changed or key in sources:
            rows.append((key, text, str(sources.get(key) or ("config" if not sources else "decided for this run"))))
        else:
            defaults.append((key, text, "default"))
    table = Table(("key", "value", "source"), [*rows, *defaults], "config", left=3)
    return Section("config", "Config", [Text(f"{len(rows)} keys are not the default.", "note"), table])


def _environment(record: RunRecord) -> Section | Omitted:
    metadata = record.metadata
    if not metadata:
        return Omitted("Environment", "meta.json is missing or damaged")
    rows = [(name, str(version)) for name, version in mapping(metadata.get("versions")).items() if version]
    for key in ("host", "platform", "cpu", "cores", "device", "threads", "git_commit", "started"):
        if metadata.get(key) is not None:
            rows.append((key.replace("_", " "), str(metadata[key])))
    summary = record.summary
    rows += [(key, f"{summary[key]:.1f}") for key in ("seconds",) if isinstance(summary.get(key), int | float)]
    rows += [("weights sha256", str(summary["weights_sha256"]))] if summary.get("weights_sha256") else []
    for one in map(mapping, listed(metadata.get("resumed"))):
        rows.append(("resumed", f"{one.get('started')} at step {one.get('step')}"))
    return Section("environment", "Environment", [Table(("", ""), rows, "environment", left=2)])


def _again(record: RunRecord) -> Section:
    metadata, name = record.metadata, record.name
    blocks: list[Any] = []
    if command := command_line(record):
        blocks += [Text(f"Trained in {metadata.get('folder', NONE)} with:"), Code(command)]
    code = [str(path) for path in mapping(metadata.get("code"))]
    run, trust = shlex.quote(name), " --trust-code" if code else ""
    lines = [f"tfloop reproduce {run}{trust}", f"tfloop evaluate {run}{trust}"]
    blocks += [Text("Train it again from its own config, and evaluate it:"), Code("\n".join(lines))]
    if code:
        blocks.append(
            Text(f"Code of the user: copies of {', '.join(code)} are in the folder code/ of the run.", "note")
        )
    return Section("again", "How to reproduce", blocks)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(cut(name, MAX_VALUE) for name in names[:MAX_NAMES])
    return f"{shown}, ..." if len(names) > MAX_NAMES else shown
