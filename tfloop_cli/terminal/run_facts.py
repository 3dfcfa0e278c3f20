"""Facts about a run as text, for `tfloop runs show` and for reports."""

import shlex

from tfloop_cli.runs.records import RunRecord, listed, mapping

_SHORT = 16  # characters of a fingerprint


def data_rows(record: RunRecord) -> list[tuple[str, str]]:
    """Returns names and values: numbers of examples, what was held out or skipped, fingerprint."""
    count, data = record.metadata.get("train_examples"), record.metadata.get("data")
    rows = [("training examples", f"{count:,}")] if isinstance(count, int) else []
    for split, facts in mapping(record.metadata.get("held_out")).items():
        rule = mapping(facts).get("rule") or "random"
        rows.append((f"held out: {split}", f"{mapping(facts).get('examples')} ({rule})"))
    rows += [(f"skipped: {split}", str(one)) for split, one in mapping(record.summary.get("skipped_examples")).items()]
    return [*rows, ("fingerprint", str(data)[:_SHORT])] if data else rows


def command_line(record: RunRecord) -> str:
    """Returns the command that has started the run, quoted for a shell; "" if it is not known."""
    command = listed(record.metadata.get("command"))
    return shlex.join(["tfloop", *map(str, command[1:])]) if command else ""
