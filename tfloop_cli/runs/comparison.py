"""What differs between runs: config, data, code, versions, machine; their metrics, and statistics over seeds."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfloop_cli.files import json_text
from tfloop_cli.runs.columns import plain
from tfloop_cli.runs.records import RunRecord, mapping

PLACES = ("runs_dir", "name")  # config keys that do not affect a result
_MACHINE = ("host", "platform", "cpu", "cores", "device", "threads")
_DATA = ("data", "train_examples")


@dataclass(frozen=True)
class Difference:
    """Something that is not the same in all runs.

    Attributes:
        kind: "config", "data", "code", "versions" or "machine".
        key: a dotted config key, a path in `code/`, a package, ...
        values: one per run; None where a run does not have it.
        sources: where the values of a config key come from, such as "mnist.yaml:5"; None where it is not known.
    """

    kind: str
    key: str
    values: tuple[Any, ...]
    sources: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Group:
    """Runs that differ in `seed` alone.

    Attributes:
        runs: their positions.
        seeds: of these runs.
        metrics: SPLIT/METRIC -> mean and sample standard deviation over the runs that have it, and their number.
    """

    runs: tuple[int, ...]
    seeds: tuple[Any, ...]
    metrics: Mapping[str, tuple[float, float, int]]


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns dotted key -> value; lists, such as `augment`, are values."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= {f"{key}.{inner}": one for inner, one in flat(value).items()}
        else:
            found[str(key)] = value
    return found


def differences(records: Sequence[RunRecord]) -> list[Difference]:
    """Returns what is not the same in all runs: first the config, then data, code, versions and machine."""
    configs = [{key: value for key, value in flat(one.config).items() if key not in PLACES} for one in records]
    found = []
    for one in _differing("config", configs):
        sources = tuple(mapping(record.metadata.get("sources")).get(one.key) for record in records)
        found.append(Difference(one.kind, one.key, one.values, sources))
    metadata = [one.metadata for one in records]
    found += _differing("data", [{key: one.get(key) for key in _DATA} for one in metadata])
    found += _differing("code", [_code(one) for one in metadata])
    versions = [{**mapping(one.get("versions")), "git_commit": one.get("git_commit")} for one in metadata]
    found += _differing("versions", versions)
    found += _differing("machine", [{key: one.get(key) for key in _MACHINE} for one in metadata])
    return found + _differing("machine", _cpu_flags(metadata))


def metrics_of(record: RunRecord) -> dict[str, float]:
    """Returns the metrics of a run as SPLIT/METRIC: evaluations, then validation and training of the best epoch."""
    splits = {**mapping(record.summary.get("evaluations"))}
    splits |= {split: record.result.get(split) for split in ("validation", "train") if split not in splits}
    return {
        f"{split}/{name}": value
        for split, metrics in splits.items()
        for name, value in mapping(metrics).items()
        if name != "examples" and isinstance(plain(value), int | float)
    }


def groups(records: Sequence[RunRecord]) -> list[Group]:
    """Returns the groups of two and more runs with the same config but for `seed`, the same data and the same code.

    Of runs with the same seed too, only the first counts: a repetition has no deviation of its own.
    """
    found: dict[str, dict[str, int]] = {}
    for position, one in enumerate(records):
        config = flat(one.config)
        seed = json_text(config.pop("seed", None))
        same = {key: value for key, value in config.items() if key not in PLACES}
        key = json_text([sorted(same.items()), one.metadata.get("data"), _code(one.metadata)])
        found.setdefault(key, {}).setdefault(seed, position)
    return [_group(records, tuple(seeds.values())) for seeds in found.values() if len(seeds) > 1]


def changed_flags(before: Any, now: Any) -> tuple[list[str], list[str]]:
    """Returns the CPU flags that only the first and that only the second machine has; without a list, none."""
    old, new = ({str(flag) for flag in flags} if isinstance(flags, list) else set() for flags in (before, now))
    return sorted(old - new), sorted(new - old)


def _group(records: Sequence[RunRecord], positions: tuple[int, ...]) -> Group:
    metrics = [metrics_of(records[position]) for position in positions]
    summary = {}
    for key in dict.fromkeys(key for one in metrics for key in one):
        values = [one[key] for one in metrics if key in one]
        deviation = statistics.stdev(values) if len(values) > 1 else math.nan
        summary[key] = (statistics.fmean(values), deviation, len(values))
    return Group(positions, tuple(records[position].config_value("seed") for position in positions), summary)


def _differing(kind: str, found: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Returns the keys that do not have the same value everywhere."""
    shared = []
    for key in dict.fromkeys(key for one in found for key in one):
        if len({json_text(one.get(key, "")) if key in one else None for one in found}) > 1:
            shared.append(Difference(kind, key, tuple(one.get(key) for one in found)))
    return shared


def _code(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {**mapping(metadata.get("code")), **mapping(metadata.get("code_modules"))}


def _cpu_flags(metadata: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns for each run the CPU flags that not all of them have: some hundred are the same everywhere."""
    flags = [
        {str(flag) for flag in one["cpu_flags"]} if isinstance(one.get("cpu_flags"), list) else None for one in metadata
    ]
    known = [one for one in flags if one is not None]
    shared = set.intersection(*known) if known else set()
    return [{} if one is None else {"cpu_flags": sorted(one - shared)} for one in flags]
