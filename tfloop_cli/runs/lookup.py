"""Which run `--resume` continues: the one in `--output`, else one with the same config and the same data.

The config is compared before TensorFlow is loaded (`select_run`), the data as soon as it is built (`choose_run`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from tfloop_cli.config.loading import load, to_mapping
from tfloop_cli.config.on_resume import DECIDED_BY_DATA, differences
from tfloop_cli.config.schema import Config
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry.argument_types import OnResume
from tfloop_cli.runs import folder
from tfloop_cli.runs.checkpoints import Checkpoint, find_checkpoint, is_checkpoint, list_checkpoints, step_of
from tfloop_cli.runs.code_copies import code_to_load
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.metadata import load_metadata, origin
from tfloop_cli.runs.resume import (
    changed_decisions,
    reconcile,
    require_same_decisions,
    short,
    with_decisions,
)
from tfloop_cli.runs.start import TrainOptions

Print = Callable[[str], None]

_MAX_DIFFERENCES = 3  # in one message


def find_run(name: str, runs_dir: Path) -> RunFolder:
    """Returns the run with that path or name.

    Args:
        name: the path of a run folder, the name of a run in `runs_dir`, or `last`: the run that started last, also if
            it has no checkpoint yet.
        runs_dir: the parent folder of all runs.

    Raises:
        TfloopError: there is no such run (exit code 2).
    """
    if name == "last":
        return folder.newest_run(runs_dir)
    path = folder.find(name, runs_dir)
    if is_checkpoint(path):
        raise TfloopError(f"{path} is a checkpoint and not a run folder", hint=resume_hint(str(path)))
    return RunFolder(path)


def code_of_run(run: RunFolder, code: list[Path], trust: bool) -> tuple[list[Path], list[Path] | None]:
    """Returns the user's files to resume a run with, and what they may import; see `code_to_load`."""
    return code_to_load(run.code, load_metadata(run), code, trust)


def require_run_or_free(output: Path, resume: bool) -> RunFolder | None:
    """Returns the run in the folder of `--output` if it is to be resumed; None if a new run can start there.

    Raises:
        TfloopError: neither (exit code 2).
    """
    run = RunFolder(output)
    if resume and run.is_run():
        return run
    folder.require_free(output)
    return None


def select_run(
    config: Config, options: TrainOptions, files: Sequence[str], info: Print, warn: Print
) -> tuple[Config, TrainOptions]:
    """Selects what `tfloop train --resume` continues. A script may pass it the first time too, which is a new run.

    Args:
        config: config of this command, from files and options.
        options: of this command; if `output` has a run, it is in `resume`.
        files: the config files of this command. A run's own config.yaml prefers that run.
        info: prints a message if there is no run of that name yet.
        warn: prints why the newest run of that name is not continued.

    Returns:
        The config to train with, and the options with either the run in `resume`, or with candidates for `choose_run`.

    Raises:
        TfloopError: the config cannot be used for the run in `output` (exit code 2); `--from` is not a checkpoint of
            the run (exit code 6).
    """
    if options.resume:
        return resume_run(options.resume, config, options)
    if options.output is not None:
        _require_no_checkpoint(options, f"there is no run in {options.output}")
        info(f"no run in {options.output} yet: starting a new one")
        return config, options
    runs = _in_order(config, options, files)
    candidates = (run for run in runs if not _reason(run, config))
    if first := next(candidates, None):
        config = with_decisions(config, load([str(first.config)]).config)
        return config, replace(options, candidates=chain([first], candidates))
    _require_no_checkpoint(options, f"{runs[0]} {_reason(runs[0], config)}" if runs else "there is no run to resume")
    prefix = options.name_prefix
    if runs and runs[0].name_prefix() == prefix:
        warn(
            f"no run with this config to resume: starting a new one; the newest run of `{prefix}`, {runs[0]}, "
            f"{_reason(runs[0], config)}; `tfloop resume {runs[0]}` continues that one"
        )
    else:
        info(f"no run of `{prefix}` to resume yet: starting a new one")
    return config, options


def resume_run(run: RunFolder, config: Config, options: TrainOptions) -> tuple[Config, TrainOptions]:
    """Returns config and options that continue a run that the user has named.

    Args:
        run: the run.
        config: config of this command.
        options: of this command.

    Raises:
        TfloopError: the config cannot be used for this run (exit code 2); `--from` is not a checkpoint of it (6).
    """
    if options.checkpoint:
        path = find_checkpoint(run.checkpoints, options.checkpoint)
        run_id = Checkpoint.open(path).manifest["run_id"]
        if load_metadata(run).get("run_id", run_id) != run_id:
            raise TfloopError(
                f"checkpoint {path} belongs to another run than {run}",
                hint=resume_hint(str(path)),
                code=ExitCode.CHECKPOINT,
            )
        if not path.resolve().is_relative_to(run.path.resolve()):  # of a copy of the run
            copied = origin(folder.run_of(path.resolve()))
            options = replace(options, started_from={**copied, "checkpoint": path.name})
    config, changes = reconcile(run, config)
    return config, replace(options, resume=run, changes=changes, name_prefix=run.name_prefix())


def choose_run(config: Config, options: TrainOptions, facts: Mapping[str, Any], warn: Print) -> TrainOptions:
    """Returns the options with the first candidate that was trained on the same data; without any, for a new run.

    A run that the user has named is the one; what the data decides has to be the same there.

    Args:
        config: the config with the decisions of the first candidate.
        options: the result of `select_run`.
        facts: about the data, see `Data.facts`.
        warn: prints why none of the candidates is continued.

    Raises:
        TfloopError: `--from` was given, and none of the candidates can be continued (exit code 6); the config cannot
            be used for the named run (exit code 2); the run to reproduce had other data (exit code 4).
    """
    if options.reproduces:
        _require_same_data(options.reproduces, facts)
    if options.resume:
        require_same_decisions(options.resume, config, facts["decisions"])
    if options.candidates is None:
        return options
    reasons = []
    for run in options.candidates:
        if reason := _reason_after_data(run, config, options, facts):
            reasons.append(f"{run} {reason}; `tfloop resume {run}` continues that one")
        else:
            return resume_run(run, config, options)[1]
    _require_no_checkpoint(options, reasons[0])
    warn(f"no run with this config and data to resume: starting a new one; {reasons[0]}")
    return options


def _require_same_data(run: RunFolder, facts: Mapping[str, Any]) -> None:
    before = load_metadata(run)
    if before.get("data", facts["data"]) == facts["data"]:
        return
    counts = f"{before.get('train_examples')} training examples then, {facts['train_examples']} now"
    raise TfloopError(
        f"the data has changed since {run} was trained: the fingerprint was {str(before['data'])[:12]} and is "
        f"{facts['data'][:12]} ({counts})",
        hint=f"`--set dataset.KEY=VALUE` if it was moved; `tfloop train {run.config}` trains on the data as it is",
        code=ExitCode.DATA,
    )


def prefix_of(config: Config, files: Sequence[str]) -> str:
    """Returns what the name of a new run begins with: the config's `name`, else that of its last file.

    A run's own config.yaml has the prefix of that run.
    """
    if config.name or not files:
        return config.name or "run"
    own = _owner(files[-1])
    return own.name_prefix() if own else Path(files[-1]).stem


def _owner(file: str) -> RunFolder | None:
    """Returns the run whose own config.yaml is `file`; None for any other file."""
    run = RunFolder(Path(file).parent)
    return run if Path(file).name == run.config.name and run.is_run() else None


def _in_order(config: Config, options: TrainOptions, files: Sequence[str]) -> list[RunFolder]:
    """Returns the runs that may be meant: that of the config file, then those of the same name, the newest first.

    A checkpoint in `--from` means its run only. A `name` in the config excludes runs with another name.
    """
    if options.checkpoint and is_checkpoint(Path(options.checkpoint)):
        run = folder.run_of(Path(options.checkpoint))
        if run.is_run():
            return [run]
    own = _owner(files[-1]) if files else None
    prefixes = {run: run.name_prefix() for run in folder.list_runs(Path(config.runs_dir))}
    found = [run for run, prefix in prefixes.items() if config.name in (None, prefix)]
    found.sort(key=lambda run: prefixes[run] != options.name_prefix)
    if own is None:
        return found
    return [own, *(run for run in found if run.path.resolve() != own.path.resolve())]


def _reason(run: RunFolder, config: Config, decisions: Mapping[str, Any] | None = None) -> str:
    """Returns why the config is not that of the run; empty if it is the same but for keys that are free.

    Keys that the data decides are compared by `decisions`; None if the data is not known yet.
    """
    try:
        saved = load([str(run.config)]).config
    except TfloopError as error:
        return f"has a config that cannot be read ({error.problems[0].message})"
    found = differences(to_mapping(saved), to_mapping(with_decisions(config, saved)))
    changed = [one for one in found if one.policy is not OnResume.FREE and one.key not in DECIDED_BY_DATA]
    changed += changed_decisions(found, run, decisions) if decisions is not None else []
    shown = [f"`{one.key}` ({short(one.before)}, now {short(one.now)})" for one in changed[:_MAX_DIFFERENCES]]
    more = len(changed) - len(shown)
    return f"differs in {', '.join(shown)}{f' and {more} more' if more else ''}" if changed else ""


def _reason_after_data(run: RunFolder, config: Config, options: TrainOptions, facts: Mapping[str, Any]) -> str:
    """Returns why a run with the same config is not continued after all; empty if it is."""
    if load_metadata(run).get("data", facts["data"]) != facts["data"]:
        return "was trained on other data"
    # Again: in another candidate than the first, "auto" may have been decided to be something else.
    if changed := _reason(run, config, facts["decisions"]):
        return changed
    saved = list_checkpoints(run.checkpoints)
    if saved and not options.checkpoint and _is_beyond(saved[-1], config.epochs):
        return f"has trained {step_of(saved[-1]):,} steps, more than `epochs: {config.epochs}` asks for"
    return ""


def _is_beyond(checkpoint: Path, epochs: int) -> bool:
    try:
        return Checkpoint.open(checkpoint).is_beyond(epochs)
    except TfloopError:  # a damaged one is reported when the run is restored
        return False


def _require_no_checkpoint(options: TrainOptions, reason: str) -> None:
    """Raises TfloopError (exit code 6) if `--from` was given: a new run would not use the checkpoint."""
    if options.checkpoint is None:
        return
    raise TfloopError(
        f"`--from {options.checkpoint}`: {reason}", hint=resume_hint(options.checkpoint), code=ExitCode.CHECKPOINT
    )


def resume_hint(checkpoint: str) -> str:
    """Returns the command that resumes from a checkpoint, in full if it is a path."""
    path = Path(checkpoint)
    run, step = (folder.run_of(path), path.name) if is_checkpoint(path) else ("RUN", checkpoint)
    return f"to continue the run of a checkpoint: tfloop resume {run} --from {step}"
