"""What `--resume` decides: which run to resume, with which config, and whether anything is left to do."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfloop_cli.config.loading import load, to_mapping
from tfloop_cli.config.schema import Config
from tfloop_cli.events import FINISHED, Evaluated, RunEnded
from tfloop_cli.files import read_json
from tfloop_cli.runs import folder, metadata
from tfloop_cli.runs.code_copies import changed_code
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.thresholds import Threshold

# Keys whose new value, used from the start, would have given the same weights so far.
KEYS_THAT_MAY_CHANGE = {"epochs", "runs_dir", "name", "checkpoint", "early_stopping", "steps_per_execution"}
UNAFFECTED = "completed steps are not affected"
# Keys that may be "auto" in a config file and are decided once per run.
DECIDED_ONCE = ("device", "threads", "compile", "kernels", "precision")


def select_run(
    config: Config,
    name_prefix: str,
    output: Path | None,
    resume: bool,
    info: Callable[[str], None],
    note: Callable[[str], None],
) -> tuple[Config, RunFolder | None]:
    """Returns the config to train with, and the run to resume; None for a new run.

    With `--resume`, a script may run the same command the first time too: it starts a new run if there is none.

    Args:
        config: config of this command, from files and options.
        name_prefix: the name of the config: its newest run is resumed.
        output: the run folder; if given, `name_prefix` does not select the run.
        resume: whether to resume a run.
        info: prints a message if there is no run to resume.
        note: prints each difference from the config of the resumed run.

    Raises:
        TfloopError: the folder of a new run is not empty, or the saved config.yaml is invalid (exit code 2).
    """
    if not resume:
        if output:
            folder.require_free(output)
        return config, None
    if output is not None:
        run = RunFolder(output) if RunFolder(output).is_run() else None
    else:
        runs = folder.list_runs(Path(config.runs_dir))
        run = next((run for run in runs if run.name_prefix() == name_prefix), None)
    if run is None:
        info(f"no run of `{name_prefix}` to resume yet: starting a new one")
        return config, None
    reconciled, differences = reconcile(run, config)
    for difference in differences:
        note(difference)
    return reconciled, run


def reconcile(run: RunFolder, config: Config) -> tuple[Config, list[str]]:
    """Returns the config with "auto" replaced by what the run decided, and one line for each difference.

    Raises:
        TfloopError: the saved config.yaml is invalid (exit code 2).
    """
    saved = load([str(run.config)]).config
    frozen = {key: getattr(saved, key) for key in DECIDED_ONCE if getattr(config, key) == "auto"}
    config = config.model_copy(update=frozen)
    before, now = to_mapping(saved), to_mapping(config)
    notes = [
        f"`{key}` changes from {_short(before[key])} to {_short(now[key])}: "
        + (UNAFFECTED if key in KEYS_THAT_MAY_CHANGE else "the result differs from an uninterrupted run")
        for key in now
        if now[key] != before[key] and key not in ("runs_dir", "name")
    ]
    return config, notes


def total_steps(config: Config, steps_per_epoch: int, saved: Mapping[str, Any], note: Callable[[str], None]) -> int:
    """Returns the length of the learning rate schedule in training steps.

    A resumed run keeps its first length, even if `epochs` changes.

    Args:
        config: the run's config.
        steps_per_epoch: training batches in one epoch.
        saved: the metadata of the resumed run; empty for a new one.
        note: prints a message if that makes the schedule shorter or longer than the run.
    """
    steps, before = config.epochs * steps_per_epoch, saved.get("total_steps")
    if type(before) is not int or before <= 0 or before == steps:
        return steps
    if config.schedule.name != "constant" and not config.schedule.arguments.get("decay_steps"):
        length = max(1, steps - config.warmup_steps)
        note(f"the schedule ends at step {before}, as at the start; `--set schedule.decay_steps={length}` extends it")
    return before


def resume_warnings(manifest: Mapping[str, Any], code: Iterable[Path], fingerprint: str) -> list[str]:
    """Returns one line for each thing that may make the result differ from an uninterrupted run.

    Args:
        manifest: the manifest of the checkpoint to resume from.
        code: the user's files.
        fingerprint: the data's fingerprint.
    """
    known = {**manifest["code"], **manifest.get("code_modules", {})}
    changes = changed_environment(manifest) + [f"the code in {path}" for path in changed_code(known, code)]
    lines = [f"results may differ in rounding from an uninterrupted run: {change}" for change in changes]
    if manifest["data"] != fingerprint:
        lines.append("the data has changed since the run started: the result differs from an uninterrupted run")
    return lines


def changed_environment(manifest: Mapping[str, Any]) -> list[str]:
    """Returns the differences in versions and CPU between the process that wrote a manifest and this one."""
    now: dict[str, Any] = metadata.gather({})
    old, new = manifest.get("versions"), now["versions"]
    old = old if isinstance(old, dict) else {}
    changes = [f"{name} {old.get(name)} -> {new[name]}" for name in new if name in old and old[name] != new[name]]
    if manifest.get("cpu_flags") != now["cpu_flags"]:
        changes.append(f"the CPU's instruction set ({manifest.get('cpu')} -> {now['cpu']})")
    return changes


def final_events(
    run: RunFolder, weights_sha256: str, thresholds: Sequence[Threshold]
) -> tuple[Evaluated | None, RunEnded] | None:
    """Returns the last events of a finished run from its summary.json.

    None if the summary is missing, damaged or of other weights, or lacks a metric of a threshold: then the run is
    evaluated and ended again.
    """
    summary = read_json(run.summary)
    reason, checkpoint, evaluations = map(summary.get, ("reason", "checkpoint", "evaluations"))
    if reason not in FINISHED or summary.get("weights_sha256") != weights_sha256 or not isinstance(evaluations, dict):
        return None
    test = evaluations.get("test", {})
    if not isinstance(test, dict):
        return None
    metrics = {name: math.nan if value is None else value for name, value in test.items()}
    if not all(isinstance(metrics.get(threshold.metric), int | float) for threshold in thresholds):
        return None
    examples = metrics.pop("examples", 0)
    if metrics and not examples:
        return None
    evaluated = Evaluated("test", int(examples), metrics, str(checkpoint)) if examples else None
    return evaluated, RunEnded(reason, str(run), str(checkpoint), weights_sha256, 0.0)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
