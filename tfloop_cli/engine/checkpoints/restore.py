"""Restores the training state of a resumed run, with messages."""

from collections.abc import Callable

from tfloop_cli.engine.checkpoints.manager import CheckpointManager
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.files import read_json
from tfloop_cli.runs.checkpoints import Checkpoint, find_checkpoint
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.resume import resume_warnings
from tfloop_cli.runs.start import TrainOptions


def restore_run(
    manager: CheckpointManager,
    options: TrainOptions,
    trace: Callable[[], None],
    info: Callable[[str], None],
    warn: Callable[[str], None],
) -> Checkpoint | None:
    """Restores the run to resume, if there is one; returns the checkpoint, None without.

    Args:
        manager: the run's checkpoints.
        options: the run to resume, the requested checkpoint, the user's code.
        trace: traces the training step; see `storage.restore`.
        info: prints a message if the run has no checkpoint yet.
        warn: prints what may make the result differ from an uninterrupted run.

    Raises:
        TfloopError: the requested checkpoint is damaged, or does not match the model or the run; or the run has ended,
            and its checkpoints are gone (exit code 6).
    """
    run, requested = options.resume, options.checkpoint
    if not run:
        return None
    checkpoint = manager.restore(find_checkpoint(run.checkpoints, requested) if requested else None, trace)
    if checkpoint is None:
        _require_no_result(run)
        info(f"no checkpoint in {run} yet: starting from the beginning")
        return None
    for line in resume_warnings(checkpoint.manifest, options.code, manager.facts["data"]):
        warn(line)
    return checkpoint


def _require_no_result(run: RunFolder) -> None:
    """Raises TfloopError if a run without checkpoints has a result, which a start from the beginning would replace."""
    if read_json(run.summary).get("checkpoint"):
        problem = f"{run} has a result, but no checkpoints any more: there is nothing to continue"
        raise TfloopError(problem, hint="start a new run without `--resume`", code=ExitCode.CHECKPOINT)
