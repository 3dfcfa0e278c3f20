"""What a run folder contains, for the commands that look at many runs: nothing is validated, and little is read.

A file that is damaged is named in `RunRecord.problem`. Keys that an earlier version did not write have no value.
"""

import functools
import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from tfloop_cli.config.yaml_positions import MAX_BYTES, Source, YamlError, parse
from tfloop_cli.errors import TfloopError
from tfloop_cli.files import SCHEMA, disk_errors, parse_json, read_file, utc
from tfloop_cli.runs import folder
from tfloop_cli.runs.checkpoints import is_checkpoint, reason_of
from tfloop_cli.runs.folder import REMOVED, RunFolder
from tfloop_cli.runs.locking import is_locked
from tfloop_cli.runs.recorder import MAX_HISTORY_BYTES

Values = Mapping[str, Any]

STATUSES = ("completed", "stopped early", "interrupted", "diverged", "failed", "training", "crashed", "damaged")
_STATUS_OF = {"completed": "completed", "early_stopping": "stopped early", "diverged": "diverged", "failed": "failed"}
_SAMPLED_BYTES = 2**18  # of metrics.jsonl; the curve of a longer one is read in places
_SAMPLES = 64
_MAX_LINE = 2**16  # bytes of a line of metrics.jsonl, where only some are read
_SEARCHED_BYTES = 2**25  # of metrics.jsonl, from its end, for the best epoch of a run without a summary


class RunRecord:
    """One run, read as far as it is asked for.

    Args:
        run: its folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self._damage: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The name of the run folder."""
        return self.run.path.name or self.run.path.resolve().name

    @cached_property
    def summary(self) -> Values:
        """The content of summary.json; empty if the run has not ended."""
        return self._read(self.run.summary, required=False)

    @cached_property
    def metadata(self) -> Values:
        """The content of meta.json; empty if it is damaged."""
        return self._read(self.run.metadata, required=True)

    @cached_property
    def problem(self) -> str | None:
        """Why the run folder cannot be used as it is; None if nothing is wrong."""
        _ = self.summary, self.metadata, self._config_text
        if self._damage:
            return "; ".join(f"{file}: {reason}" for file, reason in self._damage.items())
        if (schema := self.summary.get("schema", SCHEMA)) != SCHEMA:
            written = mapping(self.metadata.get("versions")).get("tfloop") or "unknown"
            return f"summary.json has schema {schema!r} of tfloop {written}; this version reads {SCHEMA}"
        return None

    @cached_property
    def status(self) -> str:
        """One of `STATUSES`, or `schema N` of a run that a newer version has written."""
        if self.problem and self.summary.get("schema", SCHEMA) != SCHEMA:
            return f"schema {self.summary['schema']!r}"
        ended = self.summary.get("reason")
        if not ended and is_locked(self.run.path):
            return "training"
        if self.problem:
            return "damaged"
        return _STATUS_OF.get(str(ended), "interrupted") if ended else "crashed"

    @cached_property
    def started(self) -> str:
        """When the run started (UTC, ISO 8601); the folder's modification time if meta.json does not have it."""
        started = self.metadata.get("started")
        if isinstance(started, str):
            return started
        try:
            return utc(self.run.path.stat().st_mtime)
        except OSError:
            return ""

    @cached_property
    def epochs(self) -> list[Values]:
        """The `epoch` documents of metrics.jsonl that can be read."""
        return list(self._epochs_in(None))

    @cached_property
    def sampled_epochs(self) -> list[Values]:
        """Likewise, but of a long history only some, evenly spread."""
        return list(self._epochs_in(_SAMPLES))

    @cached_property
    def best(self) -> Values:
        """The best epoch: `epoch`, `step`, `train`, `validation`; empty if there is none."""
        if self.summary:
            return mapping(self.summary.get("best"))
        return self._newest(b'"best": true')

    @cached_property
    def last(self) -> Values:
        """The last epoch: `epoch`, `step`, `train`, `validation`; empty if there is none."""
        if self.summary:
            return mapping(self.summary.get("final"))
        return self._newest(b"")

    @property
    def result(self) -> Values:
        """The epoch whose metrics are those of the run: the best one, else the last one."""
        return self.best or self.last

    @cached_property
    def monitored(self) -> str | None:
        """The validation metric that chooses the best epoch."""
        words = str(self.metadata.get("best_metric") or "").split()
        return words[1] if len(words) > 1 else None

    @cached_property
    def config(self) -> Values:
        """The whole config as plain data; empty if it cannot be parsed."""
        return mapping(_parsed(self._config_text))

    def config_value(self, key: str) -> Any:
        """Returns the value of a dotted config key, such as "optimizer.learning_rate"; None if there is none."""
        first, *others = key.split(".")
        # Only the lines of one key are parsed: PyYAML needs a millisecond for a whole config.
        match = re.search(rf"^{re.escape(first)}[ \t]*:.*(?:\n(?:[ \t-].*)?)*", self._config_text, re.MULTILINE)
        block = _parsed(match[0]) if match else None
        value: Any = block if isinstance(block, Mapping) and first in block else self.config
        for part in (first, *others):
            value = mapping(value).get(part)
        return value

    @cached_property
    def _config_text(self) -> str:
        try:
            return read_file(self.run.config, MAX_BYTES).decode("utf-8-sig")
        except (OSError, ValueError) as error:
            self._damage[self.run.config.name] = reason_of(error)
            return ""

    def _read(self, path: Path, *, required: bool) -> Values:
        try:
            value = parse_json(read_file(path))
            if not isinstance(value, dict):
                raise ValueError("it is not an object")
        except FileNotFoundError:
            if required:
                self._damage[path.name] = "it is missing"
            return {}
        except (OSError, ValueError, RecursionError) as error:
            self._damage[path.name] = reason_of(error)
            return {}
        return value

    def _epochs_in(self, samples: int | None) -> Iterator[Values]:
        try:
            with open(os.open(self.run.metrics, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                spread = samples is not None and size > _SAMPLED_BYTES
                if size > MAX_HISTORY_BYTES and not spread:
                    return
                lines = _lines_at(file, size, samples or 1) if spread else iter(file)
                yield from (epoch for line in lines if (epoch := _epoch(line)))
        except (OSError, ValueError):
            return

    def _newest(self, mark: bytes) -> Values:
        """Returns the newest epoch whose line contains `mark`; of a long history only the end is searched."""
        try:
            with open(os.open(self.run.metrics, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                lines = _backwards(file, os.fstat(file.fileno()).st_size)
                return next((epoch for line in lines if mark in line and (epoch := _epoch(line))), {})
        except (OSError, ValueError):
            return {}


def list_records(runs_dir: Path) -> list[RunRecord]:
    """Returns all runs in `runs_dir`, damaged ones too, by name; none if it does not exist.

    Raises:
        TfloopError: `runs_dir` itself cannot be read (exit code 2 or 75).
    """
    with disk_errors(runs_dir):
        names = sorted(os.listdir(runs_dir)) if os.path.lexists(runs_dir) else []
    runs = [RunFolder(runs_dir / name) for name in names if not name.startswith(REMOVED)]
    return [RunRecord(run) for run in runs if _has_run(run)]


def find_record(name: str, runs_dir: Path) -> RunRecord:
    """Returns the run with that path or name, or `last`: the run that started last; of a checkpoint, its run.

    Raises:
        TfloopError: there is no such run (exit code 2).
    """
    if name == "last":
        return RunRecord(folder.newest_run(runs_dir))
    for path in (Path(name), runs_dir / name):
        if not is_checkpoint(path) and _has_run(RunFolder(path)):
            return RunRecord(RunFolder(path))
    path = folder.find(name, runs_dir)
    run = folder.run_of(path) if is_checkpoint(path) else RunFolder(path)
    if not run.is_run():
        raise TfloopError(f"{path} is a checkpoint that was copied without its run")
    return RunRecord(run)


def mapping(value: Any) -> Values:
    """Returns a value of a JSON file if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> list[Any]:
    """Returns a value of a JSON file if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def _has_run(run: RunFolder) -> bool:
    return run.is_run() or os.path.isfile(run.metadata)  # noqa: PTH113 (Path's own raises for a folder that may not be read)


def _epoch(line: bytes) -> Values | None:
    if not line.endswith(b"\n") or b'"epoch"' not in line:
        return None
    try:
        value = parse_json(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value.get("event") == "epoch" else None


def _lines_at(file: BinaryIO, size: int, count: int) -> Iterator[bytes]:
    """Yields the first line, the complete ones after `count` evenly spread places, and the one of the last epoch."""
    yield file.readline(_MAX_LINE)
    end = file.tell()
    for number in range(1, count):
        file.seek(max(end, size * number // count))
        file.readline(_MAX_LINE)  # the rest of the line in which the place is
        yield file.readline(_MAX_LINE)
        end = file.tell()
    file.seek(max(end, size - _MAX_LINE))
    yield from [line for line in file.readlines()[1:] if b'"event": "epoch"' in line][-1:]


def _backwards(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yields the complete lines from the last one on, within the last `_SEARCHED_BYTES`."""
    begun: bytes | None = None  # the end of a line whose start is in an earlier block; None: it is not complete
    for position in range(size, max(size - _SEARCHED_BYTES, 0), -_MAX_LINE):
        start = max(position - _MAX_LINE, 0)
        file.seek(start)
        parts = file.read(position - start).split(b"\n")
        if begun is not None:
            parts[-1] += begun
        else:
            parts.pop()
        for part in reversed(parts[1:]):
            yield part + b"\n"
        begun = parts[0] if parts else None
        if begun is not None and len(begun) > _MAX_LINE:
            return
        if start == 0 and begun is not None:
            yield begun + b"\n"


@functools.cache
def _parsed(text: str) -> Any:
    """Returns YAML as plain data; None if it cannot be parsed. Many runs have the same lines."""
    try:
        return parse(text.encode(), Source("config.yaml"), []).plain()
    except (YamlError, ValueError, RecursionError):
        return None
