"""What resuming a run decides: with which config, with which warnings, and whether anything is left to do."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tfloop_cli.config.loading import load, to_mapping
from tfloop_cli.config.on_resume import DECIDED_BY_DATA, Difference, differences
from tfloop_cli.config.schema import Config
from tfloop_cli.config.warmup import warmup_steps_of
from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.events import FINISHED, Evaluated, RunEnded
from tfloop_cli.files import read_json
from tfloop_cli.hardware import all_cores
from tfloop_cli.registry import Component, tasks
from tfloop_cli.registry.argument_types import OnResume
from tfloop_cli.runs import metadata
from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints
from tfloop_cli.runs.code_copies import changed_code
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.thresholds import Threshold

_PLACES = ("runs_dir", "name")  # a resumed run stays where it is
_NEW_RUN = "start a new run: without `--resume`, or with another `-o`"
_WAYS_OUT = {"batch_size": "set `micro_batch_size`, which needs less memory with the same result"}
# Keys that may be "auto" in a config file and are decided once per run.
DECIDED_ONCE = ("device", "threads", "compile", "kernels", "precision", "batch_size")


def reconcile(run: RunFolder, config: Config) -> tuple[Config, list[Difference]]:
    """Returns the config with "auto" replaced by what the run decided, and what differs from the run.

    Before the first checkpoint there is nothing to continue, so any key may change, and nothing is returned. Keys that
    the data decides are compared later, see `require_same_decisions`.

    Raises:
        TfloopError: the saved config.yaml is invalid, or a key differs that a run cannot change (exit code 2).
    """
    saved = load([str(run.config)]).config
    config = with_decisions(config, saved)
    if not list_checkpoints(run.checkpoints):
        return config, []
    found = [one for one in differences(to_mapping(saved), to_mapping(config)) if one.key not in _PLACES]
    found = [one for one in found if one.key not in DECIDED_BY_DATA]
    if refused := [_refusal(run, one) for one in found if one.policy is OnResume.REFUSED]:
        raise TfloopError(problems=refused)
    return config, found


def require_same_decisions(run: RunFolder, config: Config, decisions: Mapping[str, Any]) -> None:
    """Checks the keys that the data decides, as `reconcile` checks the others.

    Args:
        run: the run to resume.
        config: of this command.
        decisions: see `Data.decisions`.

    Raises:
        TfloopError: such a key differs from that of the run, and has another effect (exit code 2).
    """
    saved = load([str(run.config)]).config
    changed = changed_decisions(differences(to_mapping(saved), to_mapping(config)), run, decisions)
    if changed and list_checkpoints(run.checkpoints):
        raise TfloopError(problems=[_refusal(run, one) for one in changed])


def changed_decisions(found: Iterable[Difference], run: RunFolder, decisions: Mapping[str, Any]) -> list[Difference]:
    """Returns those differences in keys that the data decides which have another effect than in the run."""
    before = metadata.load_metadata(run).get("decisions", {})
    keys = [key for key in DECIDED_BY_DATA if key not in before or before[key] != decisions[key]]
    return [one for one in found if one.key in keys]


def _refusal(run: RunFolder, difference: Difference) -> Problem:
    key, before, now = difference.key, short(difference.before), short(difference.now)
    ways_out = "; or ".join(filter(None, (f"keep {before}", _WAYS_OUT.get(key), _NEW_RUN)))
    return Problem(f"`{key}` is {before} in {run} and {now} here: a run cannot change it", hint=ways_out)


def with_decisions(config: Config, saved: Config) -> Config:
    """Returns the config with what a run has decided, according to its saved config, in place of "auto"."""
    undecided = [key for key in DECIDED_ONCE if getattr(config, key) == "auto"]
    if config.threads != "auto" and min(config.threads, all_cores()) == saved.threads:
        undecided.append("threads")  # a run has at most as many as the machine has cores
    if config.device == "gpu" and saved.device == "gpu:0":
        undecided.append("device")
    if config.task.name == "auto" and _is_default_task(saved.task):
        undecided.append("task")
    return config.model_copy(update={key: getattr(saved, key) for key in undecided})


def _is_default_task(task: Component) -> bool:
    """Whether `task: auto` may have been decided to be this task."""
    if task.name not in ("classification", "regression"):
        return False
    return dict(task.arguments) == tasks.declaration(task.name, {}).defaults()


def last_epoch(run: RunFolder | None) -> tuple[int, int]:
    """Returns the epoch of the newest good checkpoint and its first step, both counted from 0.

    Args:
        run: the one to resume; None for a new one: (0, 0).
    """
    for path in reversed(list_checkpoints(run.checkpoints) if run else []):
        with suppress(TfloopError):  # reported when the run is restored
            manifest = Checkpoint.open(path).manifest
            return int(manifest["epoch"]), int(manifest["epoch_start"])
    return 0, 0


def total_steps(config: Config, steps: int, saved: Mapping[str, Any], note: Callable[[str], None]) -> int:
    """Returns the length of the learning rate schedule in training steps.

    A resumed run keeps the length that it had with the same schedule, even if `epochs` or the data change. Another
    schedule, and a constant one, have the length of the run.

    Args:
        config: the run's config.
        steps: training steps of the run.
        saved: the metadata of the resumed run; empty for a new one.
        note: prints a message if that makes the schedule shorter or longer than the run.
    """
    before = saved.get("total_steps")
    if type(before) is not int or before <= 0 or before == steps:
        return steps
    if config.schedule.name == "constant" or config.schedule.name != saved.get("schedule"):
        return steps
    if not config.schedule.arguments.get("decay_steps"):
        length = max(1, steps - warmup_steps_of(config, before))
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


def short(value: Any) -> str:
    """Returns a value of a config for a message, as JSON of at most 60 characters."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
