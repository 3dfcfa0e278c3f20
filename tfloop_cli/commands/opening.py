"""Opens a trained run for a command: its checkpoint, the user's code, and its config on this machine."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tfloop_cli.config.loading import from_mapping
from tfloop_cli.config.schema import Config
from tfloop_cli.engine import runtime
from tfloop_cli.engine.data import Data
from tfloop_cli.engine.trained_run import TrainedRun
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import plugins
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
            if path.exists():
                raise


def set_up(checkpoint: Checkpoint, device: str, code: Sequence[Path], trust_code: bool, console: Console) -> Config:
    """Loads the user's code, sets TensorFlow up, and returns the config of a run as it is on this machine.

    Args:
        checkpoint: of the run.
        device: replaces the device of the run.
        code: the user's own modules.
        trust_code: whether to run the copies of such modules in the run folder.
        console: prints notes.

    Raises:
        TfloopError: the run needs code and neither option was used, or the device is not available (exit code 2).
    """
    copies = RunFolder(checkpoint.path.resolve().parent.parent).code
    files, only = code_to_load(copies, checkpoint.manifest, list(code), trust_code)
    plugins.load(files, console.warn, only)
    trained, changes = trained_config(checkpoint), {"device": device}
    if trained.get("kernels") == "native":
        changes["kernels"] = "auto"  # this machine may not have the C++ operations
    config = from_mapping(trained | changes, str(checkpoint.path))
    with console.quiet_stderr():
        return runtime.setup(config, console.note)


def open_trained_run(
    folder: Path,
    console: Console,
    *,
    checkpoint: str | None = None,
    device: str = "auto",
    code: Sequence[Path] = (),
    trust_code: bool = False,
) -> TrainedRun:
    """Returns a trained model for new inputs; see `use_checkpoint` and `set_up` for the arguments."""
    return use_checkpoint(
        folder,
        checkpoint,
        lambda found: TrainedRun.load(found, set_up(found, device, code, trust_code, console), console.warn),
    )


def compared_fingerprint(data: Data, split: str, checkpoint: Checkpoint, console: Console) -> str | None:
    """Returns the fingerprint of the data if it is that of the run or has changed; None if they cannot be compared.

    Raises:
        TfloopError: the split is held out of a training split that has changed, so it would have other examples (exit
            code 4).
    """
    if "train" not in data.splits:
        return None
    trained = checkpoint.manifest["data"]
    if data.fingerprint != trained and data.run_splits.is_held_out(split):
        raise TfloopError(
            f"the training data has changed since training, so the examples that were held out for `{split}` are not "
            "known",
            hint="undo the change, or evaluate other data: `--data FILE_OR_FOLDER`",
            code=ExitCode.DATA,
        )
    if data.fingerprint != trained:
        console.warn("the data has changed since training: the metrics may not be comparable")
    return data.fingerprint


def run_path(checkpoint: Checkpoint) -> str | None:
    """Returns the path of the run folder of a checkpoint; None for a checkpoint that was copied without its run."""
    run = run_of(checkpoint.path)
    return str(run) if run.is_run() else None
