"""Opens a trained run for a command: its checkpoint, the user's code, and its config on this machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tfloop_cli.config.data_paths import DATA
from tfloop_cli.config.loading import from_mapping, to_mapping
from tfloop_cli.config.on_resume import differences
from tfloop_cli.config.schema import Config
from tfloop_cli.engine import runtime
from tfloop_cli.engine.checkpoints.storage import restore
from tfloop_cli.engine.data import Data, build_data
from tfloop_cli.engine.loop import TrainSteps
from tfloop_cli.engine.run_data import build_run_data
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Task, build_task
from tfloop_cli.engine.trained_run import TrainedRun
from tfloop_cli.engine.training.setup import build_state
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import plugins
from tfloop_cli.registry.argument_types import OnResume
from tfloop_cli.runs.checkpoints import Checkpoint, find_checkpoint, is_checkpoint
from tfloop_cli.runs.code_copies import code_to_load
from tfloop_cli.runs.folder import RunFolder, run_of
from tfloop_cli.runs.metadata import trained_config
from tfloop_cli.terminal.console import Console

Result = TypeVar("Result")


def use_checkpoint(folder: Path, which: str | None, use: Callable[[Checkpoint], Result]) -> Result:
    """Returns what a function returns for a checkpoint of a run.

    If a training of the run removes the checkpoint meanwhile, the function is called again with its successor.

    Args:
        folder: a run folder or a checkpoint folder.
        which: "best", "last" or a step; None for the best if there is one, else the last.
        use: reads the checkpoint.

    Raises:
        TfloopError: there is no such checkpoint, or it is damaged (exit code 6); or an error of `use`.
    """
    while True:
        path = folder if is_checkpoint(folder) else find_checkpoint(RunFolder(folder).checkpoints, which)
        try:
            return use(Checkpoint.open(path))
        except TfloopError:
            if path.exists() or path.is_symlink():  # a link whose target is gone stays
                raise


def set_up(
    checkpoint: Checkpoint,
    device: str,
    code: Sequence[Path],
    trust_code: bool,
    console: Console,
    moved: Sequence[str] = (),
) -> Config:
    """Loads the user's code, sets TensorFlow up, and returns the config of a run as it is on this machine.

    Args:
        checkpoint: of the run.
        device: replaces the device of the run.
        code: the user's own modules.
        trust_code: whether to run the copies of such modules in the run folder.
        console: prints notes.
        moved: where the data is now, as `dataset.KEY=VALUE`.

    Raises:
        TfloopError: the run needs code and neither option was used, the device is not available, or `moved` has another
            key than those of the data (exit code 2).
    """
    copies = RunFolder(checkpoint.path.resolve().parent.parent).code
    files, only = code_to_load(copies, checkpoint.manifest, list(code), trust_code)
    plugins.load(files, console.warn, only)
    trained, changes = trained_config(checkpoint), {"device": device}
    if trained.get("kernels") == "native":
        changes["kernels"] = "auto"  # this machine may not have the C++ operations
    config = from_mapping(trained | changes, str(checkpoint.path))
    if moved:
        config = _with_moved_data(config, str(checkpoint.path), moved)
    with console.quiet_stderr():
        return runtime.setup(config, console.note)


def _with_moved_data(config: Config, source: str, moved: Sequence[str]) -> Config:
    before = to_mapping(config)
    config = from_mapping(before, source, moved)
    for one in differences(before, to_mapping(config)):
        if not one.key.startswith("dataset.") or one.policy is OnResume.REFUSED:
            raise TfloopError(
                f"`--set {one.key}`: only where the data is can be set; the run decides everything else",
                hint="such as `--set dataset.train=NEW` or `--set dataset.path=NEW`",
            )
    return config


def open_trained_run(
    folder: Path,
    console: Console,
    *,
    checkpoint: str | None = None,
    device: str = "auto",
    code: Sequence[Path] = (),
    trust_code: bool = False,
    moved: Sequence[str] = (),
) -> TrainedRun:
    """Returns a trained model for new inputs; see `use_checkpoint` and `set_up` for the arguments."""
    return use_checkpoint(
        folder,
        checkpoint,
        lambda found: TrainedRun.load(found, set_up(found, device, code, trust_code, console, moved), console.warn),
    )


@dataclass(frozen=True)
class RunWithData:
    """A trained run with a split to evaluate, or with other data.

    Attributes:
        checkpoint: whose weights it has.
        config: of the run, after `runtime.setup`.
        data: of the run, or other data as its only split.
        split: the split to evaluate.
        task: of the run; it has an `eval_step`.
        state: the restored training state.
    """

    checkpoint: Checkpoint
    config: Config
    data: Data
    split: str
    task: Task
    state: TrainState


def open_with_data(
    checkpoint: Checkpoint, config: Config, console: Console, *, split: str = DATA, other: Path | None = None
) -> RunWithData:
    """Builds data and model of a run, and restores its checkpoint.

    Examples are encoded as the run's. The training file is read only if the split is held out of it.

    Args:
        checkpoint: of the run.
        config: of `set_up`.
        console: prints what is new about the data.
        split: to evaluate.
        other: a file or folder to read in place of the split.

    Raises:
        TfloopError: the data cannot be read (exit code 4), the task evaluates nothing (2), or the checkpoint is damaged
            or does not match the model (6).
    """
    encoders, split = checkpoint.encoders() or {}, DATA if other else split
    if other:
        data = build_data(config, console.warn, encoders or None, other=other, progress=console.show_progress)
    else:
        data = run_data(checkpoint, config, split, console)
    for note in data.encoders.notes if data.encoders else ():
        if note not in encoders.get("notes", ()):  # not known since training
            console.note(note)
    task = build_task(config.task, data.spec)
    if not task.eval_step:
        raise TfloopError(f"task `{config.task.name}` has no `eval_step`: there is nothing to evaluate")
    state = build_state(task, data, config, checkpoint.manifest["total_steps"], restored=True)
    fingerprint = data.fingerprint if "train" in data.splits else None
    restore(checkpoint, state, TrainSteps(state, data, task, config).trace, fingerprint=fingerprint)
    return RunWithData(checkpoint, config, data, split, task, state)


def run_data(checkpoint: Checkpoint, config: Config, split: str, console: Console) -> Data:
    """Returns the data of a run for a split; see `build_run_data`."""
    how = {"warn": console.warn, "note": console.note, "progress": console.show_progress}
    return build_run_data(checkpoint, config, checkpoint.encoders(), split, **how)


def run_path(checkpoint: Checkpoint) -> str | None:
    """Returns the path of the run folder of a checkpoint; None for a checkpoint that was copied without its run."""
    run = run_of(checkpoint.path)
    return str(run) if run.is_run() else None
