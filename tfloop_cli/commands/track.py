"""`tfloop track`: writes the history of a run to trackers, after the training or again."""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfloop_cli.config.loading import from_mapping
from tfloop_cli.config.yaml_positions import Source, YamlError, parse
from tfloop_cli.errors import ExitCode, Problem, TfloopError
from tfloop_cli.registry import Component
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.locking import is_locked
from tfloop_cli.runs.records import RunRecord, listed
from tfloop_cli.terminal.console import Console
from tfloop_cli.tracking.children import Child, finish, require_packages


@dataclass(frozen=True)
class Options:
    """The options of `tfloop track`.

    Attributes:
        to: trackers, each a name or a mapping in YAML; empty for those of the run's config.
        code: the user's own modules.
        seconds: how long to wait for the trackers.
    """

    to: Sequence[str]
    code: Sequence[Path]
    seconds: float


def track(run: RunFolder, options: Options, console: Console) -> ExitCode:
    """Writes a run to trackers, each in a process of its own, and prints where they have it.

    Raises:
        TfloopError: an unknown tracker, a wrong argument, a missing package, or the run is training (exit code 2); a
            tracker failed, or did not finish in time (exit code 75).
    """
    components = trackers_of(run, options.to)
    require_packages(components)
    console.info(f"writing {run} to {', '.join(map(_described, components))} ...")
    with _lock(run):  # a run that is training has its own processes for that
        children = [Child(one, run, options.code, follows=False) for one in components]
        finish(children, options.seconds, lambda text: None)
    failed = [child for child in children if not child.finished]
    if console.json:
        rows = [{"name": child.name, "where": child.where, "error": child.error} for child in children]
        console.document({"event": "track", "run": str(run), "trackers": rows})
    for child in children:
        if child.finished:
            console.result(f"{child.name}: {child.where}")
    if failed:
        problems = [Problem(f"{child.name}: {child.error}") for child in failed]
        raise TfloopError(problems=problems, code=ExitCode.TRY_AGAIN)
    return ExitCode.DONE


def _lock(run: RunFolder) -> AbstractContextManager[None]:
    if os.access(run.path, os.W_OK):
        return run.lock()
    if is_locked(run.path):
        raise TfloopError(f"{run}: another user is training in this folder", hint="wait until the run ends")
    return nullcontext()


def trackers_of(run: RunFolder, to: Sequence[str]) -> tuple[Component, ...]:
    """Returns the trackers to write to, with their arguments.

    A name alone has the arguments of the run's config, if that has the tracker.

    Args:
        run: the run.
        to: the values of `--to`.

    Raises:
        TfloopError: there is none, or one is unknown or has a wrong argument (exit code 2).
    """
    config = RunRecord(run).config
    if not config:
        raise TfloopError(f"{run.config} is damaged", hint=f"`tfloop runs show {run}` shows what is left")
    own = listed(config.get("tracking"))
    if not to and not own:
        raise TfloopError("the config of the run has no trackers", hint="choose one: `--to tensorboard`")
    by_name = {one["name"]: one for one in own if isinstance(one, dict) and "name" in one}
    chosen = [by_name.get(text, _parsed(text)) for text in to] or own
    others: Mapping[str, Any] = {"dataset": "mnist", "model": "linear"}  # a config needs them
    return from_mapping({**others, "tracking": chosen}, "--to").tracking


def _described(component: Component) -> str:
    """Returns the name of a tracker and its arguments: the config of another person's run may name any server."""
    arguments = [f"{name}: {value}" for name, value in component.arguments.items() if value is not None]
    return f"{component.name} ({', '.join(arguments)})" if arguments else component.name


def _parsed(text: str) -> Any:
    try:
        return parse(text.encode(), Source("--to"), []).plain()
    except YamlError as error:
        raise TfloopError(problems=[Problem("neither a name nor a mapping in YAML", file=f"--to {text}")]) from error
