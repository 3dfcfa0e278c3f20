"""Restores the training state of a resumed run, with messages."""

from collections.abc import Callable

from tfloop_cli.engine.checkpoints.manager import CheckpointManager
from tfloop_cli.runs.checkpoints import find_checkpoint
from tfloop_cli.runs.resume import resume_warnings
from tfloop_cli.runs.start import TrainOptions


def restore_run(
    manager: CheckpointManager,
    options: TrainOptions,
    trace: Callable[[], None],
    info: Callable[[str], None],
    warn: Callable[[str], None],
) -> bool:
    """Restores the run to resume, if there is one; returns whether a checkpoint was restored.

    Args:
        manager: the run's checkpoints.
        options: the run to resume, the requested checkpoint, the user's code.
        trace: traces the training step; see `storage.restore`.
        info: prints a message.
        warn: prints a warning.

    Raises:
        TfloopError: the requested checkpoint is damaged, or does not match the model or the run (exit code 6).
    """
    run = options.resume
    if not run:
        return False
    requested = options.checkpoint
    checkpoint = manager.restore(find_checkpoint(run.checkpoints, requested) if requested else None, trace)
    if checkpoint is None:
        info(f"no checkpoint in {run} yet: starting from the beginning")
        return False
    for line in resume_warnings(checkpoint.manifest, options.code, manager.facts["data"]):
        warn(line)
    return True
