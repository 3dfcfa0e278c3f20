"""`tfloop train --resume` on a run that is finished: its result is shown again."""

from tfloop_cli.commands.resumed_run import announce_result
from tfloop_cli.config.schema import Config
from tfloop_cli.events import to_each
from tfloop_cli.runs.checkpoints import Checkpoint
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.metadata import save_dataset
from tfloop_cli.runs.resume import final_events
from tfloop_cli.runs.start import TrainOptions
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.display import Display
from tfloop_cli.thresholds import require_passed


def show_result(
    run: RunFolder,
    config: Config,
    checkpoint: Checkpoint,
    options: TrainOptions,
    weights_sha256: str,
    display: Display,
    console: Console,
) -> bool:
    """Shows the result of a finished run; returns False, and shows nothing, if its summary does not have it.

    Of a changed config, the run keeps where the data is now, which `tfloop evaluate` needs.

    Args:
        run: the run.
        config: of this command.
        checkpoint: the restored one.
        options: the thresholds, and what differs from the config of the run.
        weights_sha256: of the restored weights.
        display: shows the result.
        console: prints that the run is finished.

    Raises:
        TfloopError: a threshold failed, or its metric was not evaluated (exit code 3).
    """
    if (events := final_events(run, weights_sha256, options.thresholds)) is None:
        return False
    announce_result(run, config, checkpoint, options.changes, console)
    save_dataset(run, config)
    evaluated, ended = events
    emit = to_each(*options.consumers, display)
    if evaluated:
        emit(evaluated)
    emit(ended)
    require_passed(options.thresholds, "test", evaluated.metrics if evaluated else {})
    return True
