"""Restores the training state of a resumed run."""

from collections.abc import Callable

from tfloop_cli.engine.checkpoints.manager import CheckpointManager
from tfloop_cli.runs.checkpoints import Checkpoint, find_checkpoint
from tfloop_cli.runs.start import TrainOptions


def restore_run(
    manager: CheckpointManager, options: TrainOptions, trace: Callable[[], None], info: Callable[[str], None]
) -> Checkpoint | None:
    """Restores the run to resume, if there is one; returns the checkpoint, None without.

    Args:
        manager: the run's checkpoints.
        options: the run to resume, the requested checkpoint.
        trace: traces the training step; see `storage.restore`.
        info: prints a message if the run has no checkpoint yet.

    Raises:
        TfloopError: the requested checkpoint is damaged, or does not match the model or the run (exit code 6).
    """
    run, requested = options.resume, options.checkpoint
    if not run:
        return None
    checkpoint = manager.restore(find_checkpoint(run.checkpoints, requested) if requested else None, trace)
    if checkpoint is None:
        info(f"no checkpoint in {run} yet: starting from the beginning")
    return checkpoint
