"""Going on with a run: which folder, and what became of its config since."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfloop_cli import meta, rundir
from tfloop_cli.config import Config
from tfloop_cli.configfile import load, to_mapping
from tfloop_cli.console import Console
from tfloop_cli.rundir import RunDir, read_file

# What a run may change without another bit in the weights of the steps that both share.
_STAMP = re.compile(r"-\d{8}-\d{6}-[0-9a-f]{4}$|-\d+$")  # what rundir.create puts behind a stem

FREE = {"epochs", "runs_dir", "name", "checkpoint", "early_stopping", "steps_per_call"}


def choose(wanted: Config, stem: str, output: Path | None, console: Console) -> tuple[Config, RunDir | None, str]:
    """The run to go on with, and the config to do it with; says what changed.

    Args:
        wanted: the config as files and options have it now.
        stem: what it calls itself: its newest run is meant.
        output: the run's folder itself, instead.
        console: gets the differences.

    Returns:
        The config, the run and its stem. No run where there is none yet: a script passes --resume the first time too.
    """
    if output is not None:
        run = RunDir(output) if RunDir(output).is_run() else None
    else:
        runs = rundir.runs(Path(wanted.runs_dir))
        run = next((run for run in runs if stem_of(run) == stem), None)
    if run is None:
        console.say(f"no run of `{stem}` to resume yet: starting a new one")
        return wanted, None, stem
    config, notes = reconcile(run, wanted)
    for note in notes:
        console.note(note)
    return config, run, stem_of(run)


def stem_of(run: RunDir) -> str:
    """What the run's config calls itself: meta.json knows and, where that is damaged, the folder's name."""
    stem = read_json(run.meta).get("stem")
    return stem if isinstance(stem, str) else _STAMP.sub("", run.path.name)


def read_json(file: Path) -> dict[str, Any]:
    """What a JSON file of a run folder says; empty where it is not there or not whole."""
    try:
        found = json.loads(read_file(file))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def reconcile(run: RunDir, wanted: Config) -> tuple[Config, list[str]]:
    """The config to go on with: what is wanted now, with "auto" as the run decided it.

    Returns:
        The config, and a line for each difference from the run's own.
    """
    kept = load([str(run.config)]).config
    decided = "device", "threads", "compile", "kernels", "precision"
    frozen = {key: getattr(kept, key) for key in decided if getattr(wanted, key) == "auto"}
    config = wanted.model_copy(update=frozen)
    before, now = to_mapping(kept), to_mapping(config)
    notes = [
        f"`{key}` is {_short(now[key])}, and was {_short(before[key])}: "
        + ("that changes no step that is done" if key in FREE else "the result is not that of one unbroken run")
        for key in now
        if now[key] != before[key] and key not in ("runs_dir", "name")
    ]
    return config, notes


def changed_machine(then: Mapping[str, Any]) -> list[str]:
    """What differs between the machine and versions that wrote a manifest and these; bits may differ with them."""
    now: dict[str, Any] = meta.gather({})
    old, new = then.get("versions"), now["versions"]
    old = old if isinstance(old, dict) else {}
    changes = [f"{name} {old.get(name)} -> {new[name]}" for name in new if name in old and old[name] != new[name]]
    if then.get("cpu_flags") != now["cpu_flags"]:
        changes.append(f"the CPU's instruction set ({then.get('cpu')} -> {now['cpu']})")
    return changes


def changed_code(then: Mapping[str, Any], code: Sequence[Path]) -> list[str]:
    """Which of the user's files are not those that a manifest knows."""
    known = set(then["code"].values())
    return [f"the code in {path}" for path in code if hashlib.sha256(path.read_bytes()).hexdigest() not in known]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
