"""The metadata of a run: versions, machine, command line and data; in meta.json and in each checkpoint's manifest."""

import gzip
import io
import os
import platform
import secrets
import subprocess
import sys
import time
import zlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tfloop_cli
from tfloop_cli.config.loading import dump, load, to_mapping
from tfloop_cli.config.on_resume import differences
from tfloop_cli.config.schema import Config
from tfloop_cli.config.validation import DEFAULTS
from tfloop_cli.errors import TfloopError
from tfloop_cli.files import disk_errors, json_text, parse_json, read_file, read_json, utc, write_atomic, write_json
from tfloop_cli.hardware import cpu
from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints
from tfloop_cli.runs.code_copies import copy_code
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.start import TrainOptions

_PACKAGES = ("tensorflow", "keras", "numpy", "tensorflow-datasets", "safetensors")
_COMPRESSION = 3  # of the names of files, of which there may be a million
_MAX_FILES_BYTES = 2**28
_IN_MANIFEST = (
    "config", "run_id", "versions", "cpu", "cpu_flags", "device", "threads", "total_steps", "schedule", "code",
    "code_modules",
)  # fmt: skip


def gather(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the metadata of this process: versions, machine, command line, start time (UTC) and git commit.

    Args:
        facts: facts from the engine (device, threads, data fingerprint ...); added to the result.
    """
    model, flags = cpu()
    return {
        "started": utc(time.time()),
        "command": sys.argv,
        "folder": str(Path.cwd()),
        "git_commit": _git_commit(),
        "host": os.uname().nodename,
        "pid": os.getpid(),
        "platform": platform.platform(),
        "cpu": model,
        "cpu_flags": flags,
        "cores": os.cpu_count(),
        "versions": versions(),
        **facts,
    }


def load_metadata(run: RunFolder | None) -> Mapping[str, Any]:
    """Returns the metadata of the run to resume: meta.json or, if that is damaged, the newest good manifest.

    Empty for a new run (None).
    """
    if run is None:
        return {}
    metadata = read_json(run.metadata)
    if isinstance(metadata.get("run_id"), str):
        return metadata
    for path in reversed(list_checkpoints(run.checkpoints)):
        try:
            return Checkpoint.open(path).manifest
        except TfloopError:
            continue
    return {}


def manifest_facts(
    config: Config, before: Mapping[str, Any], total_steps: int, engine_facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns what every checkpoint's manifest contains besides the training state. Nothing is written yet.

    Args:
        config: the resolved config.
        before: the resumed run's metadata, with its id; empty for a new one.
        total_steps: training steps in the whole run.
        engine_facts: about the data, and about the metrics that choose the best epoch and stop early.
    """
    now = gather({
        "run_id": before.get("run_id") or secrets.token_hex(8),
        "config": to_mapping(config),
        "device": config.device,
        "threads": config.threads,
        **engine_facts,
        "total_steps": total_steps,
        "schedule": config.schedule.name,
        "code": {},
        "code_modules": {},
    })  # fmt: skip
    return {key: now[key] for key in (*_IN_MANIFEST, *engine_facts)}


def known_data(options: TrainOptions) -> dict[str, Any]:
    """Returns arguments of `build_data`: the encoders of the run to resume, the files of the run to reproduce."""
    encoders = _load_encoders(options.resume) if options.resume else None
    return {"encoders": encoders, "files": load_data_files(options.reproduces) if options.reproduces else None}


def _load_encoders(run: RunFolder) -> Mapping[str, Any] | None:
    """Returns the encoders in the newest good checkpoint; None if there are none."""
    for path in reversed(list_checkpoints(run.checkpoints)):
        try:
            return Checkpoint.open(path).encoders()
        except TfloopError:
            continue
    return None


def load_data_files(run: RunFolder) -> Mapping[str, Any]:
    """Returns the files and rows that a run was trained on, see `Data.documents`; {} if they are not known."""
    try:
        with gzip.open(io.BytesIO(read_file(run.data_files, _MAX_FILES_BYTES))) as stream:
            content = stream.read(_MAX_FILES_BYTES)  # the file may be damaged, or made to fill the memory
        found = parse_json(content)
    except (OSError, EOFError, ValueError, RecursionError, zlib.error):
        return {}
    return found if isinstance(found, dict) else {}


def save_metadata(
    run: RunFolder,
    config: Config,
    options: TrainOptions,
    facts: Mapping[str, Any],
    step: int,
    encoders: bytes | None = None,
    data_files: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """Writes config.yaml, meta.json, encoders.json, data-files.json.gz and copies of the user's code.

    Returns `facts` with the checksums of the code.

    Called after a checkpoint of the resumed run was accepted: a wrong config must not change the run.

    Args:
        run: the run's folder.
        config: the resolved config.
        options: the run to resume, the user's code.
        facts: see `manifest_facts`.
        step: completed steps; a changed config holds from there on.
        encoders, data_files: see `Data.documents`.

    Raises:
        TfloopError: a disk error (exit code 2 or 75).
    """
    before = read_json(run.metadata) if options.resume else {}
    with disk_errors(run.path):
        code, modules = copy_code(options.code, run.code)
        facts = {**facts, "code": code, "code_modules": modules}
        known = {key: value for key, value in facts.items() if key != "config"}
        now = gather(known | {"name_prefix": options.name_prefix})
        earlier = before.get("resumed")
        again = {key: now[key] for key in ("command", "host", "pid", "versions", "started")}
        again |= {"step": step, "changes": _changes(run, config, before, facts)}
        now["resumed"] = [*(earlier if isinstance(earlier, list) else []), again] if before else []
        now["started"] = before.get("started", now["started"])
        now["sources"] = _sources(run, options, before)
        now["started_from"] = options.started_from or before.get("started_from")
        if options.reproduces:
            now["reproduces"] = origin(options.reproduces)
        write_atomic(run.config, dump(config).encode())
        write_json(run.metadata, now)
        if encoders is not None:
            write_atomic(run.encoders, encoders)
        if data_files:
            write_atomic(run.data_files, gzip.compress(json_text(data_files).encode(), _COMPRESSION, mtime=0))
    return facts


def save_dataset(run: RunFolder, config: Config) -> None:
    """Writes the dataset of a config into the config.yaml of a run: its files may have been moved.

    Raises:
        TfloopError: a disk error (exit code 2 or 75).
    """
    saved = load([str(run.config)]).config
    if saved.dataset != config.dataset:
        with disk_errors(run.path):
            write_atomic(run.config, dump(saved.model_copy(update={"dataset": config.dataset})).encode())


def trained_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns the config of a checkpoint as plain data, with the dataset of its run: the data may have been moved."""
    config, run = dict(checkpoint.manifest["config"]), RunFolder(checkpoint.path.resolve().parent.parent)
    if not run.is_run():
        return config
    try:
        dataset = to_mapping(load([str(run.config)]).config)["dataset"]
    except TfloopError:  # damaged, or deleted: a checkpoint has what is needed
        return config
    return config | {"dataset": dataset}


def origin(run: RunFolder) -> dict[str, str]:
    """Returns how meta.json names another run: its folder and its id."""
    return {"run": str(run.path.resolve()), "run_id": str(load_metadata(run).get("run_id"))}


def _sources(run: RunFolder, options: TrainOptions, before: Mapping[str, Any]) -> dict[str, str]:
    """Returns the sources of config keys that are not defaults; keys of a resumed run keep theirs unless given anew."""
    earlier, own = before.get("sources"), f"{run.config}:"
    given = {key: one for key, one in options.sources.items() if one != DEFAULTS.label and not one.startswith(own)}
    return {**(earlier if isinstance(earlier, dict) else {}), **given}


def _changes(
    run: RunFolder, config: Config, before: Mapping[str, Any], facts: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Returns what differs from the run's own config, and from its data, as [{"key", "before", "now"}]."""
    if not before or not run.config.is_file():
        return []
    found = differences(to_mapping(load([str(run.config)]).config), to_mapping(config))
    changes = [{"key": one.key, "before": one.before, "now": one.now} for one in found]
    for key in ("data", "train_examples"):
        if before.get(key) != facts[key]:
            changes.append({"key": key, "before": before.get(key), "now": facts[key]})
    return changes


def versions() -> dict[str, str | None]:
    """Returns the versions of tfloop, Python and the packages that affect a result, without importing them."""
    found: dict[str, str | None] = {"tfloop": tfloop_cli.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _git_commit() -> str | None:
    """Returns the git commit of the current folder, with "-dirty" if files differ from it; None outside of git."""
    # The config of a repository may name a program as fsmonitor; reading a commit must not run anything.
    command = ["git", "-c", "core.fsmonitor=false", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=2, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
