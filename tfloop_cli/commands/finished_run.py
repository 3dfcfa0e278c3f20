"""`tfloop train --resume` on a run that is finished: its result is shown again."""

from tfloop_cli.config.schema import Config
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.metadata import save_dataset
from tfloop_cli.runs.resume import final_events
from tfloop_cli.terminal.display import Display
from tfloop_cli.thresholds import Threshold, require_passed


def show_result(
    run: RunFolder, config: Config, weights_sha256: str, thresholds: list[Threshold], display: Display
) -> bool:
    """Shows the result of a finished run; returns False if its summary does not have it.

    Of a changed config, the run keeps where the data is now, which `tfloop evaluate` needs.

    Raises:
        TfloopError: a threshold failed, or its metric was not evaluated (exit code 3).
    """
    if (events := final_events(run, weights_sha256, thresholds)) is None:
        return False
    save_dataset(run, config)
    evaluated, ended = events
    if evaluated:
        display.handle(evaluated)
    display.handle(ended)
    require_passed(thresholds, "test", evaluated.metrics if evaluated else {})
    return True
