"""What `tfloop train` says of config and data before it trains."""

from collections.abc import Callable

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data import Data
from tfloop_cli.engine.inspection.leaks import find_leaks
from tfloop_cli.engine.tasks import Task
from tfloop_cli.engine.training.setup_warnings import setup_warnings
from tfloop_cli.files import json_text

LEAK_ROWS, LEAK_COLUMNS = 2000, 200  # so few that a search takes milliseconds; `tfloop inspect data` looks at more
MAX_NAMES = 5  # of columns in a line


def warn_before_training(
    config: Config, data: Data, task: Task, note: Callable[[str], None], warn: Callable[[str], None]
) -> None:
    """Prints one line for each thing that is off.

    Args:
        config: of the run.
        data: its examples.
        task: with classes, these are checked too.
        note: prints what may be right, such as a column that alone predicts the target.
        warn: prints a setting that cannot have the effect that it is for.
    """
    for line in setup_warnings(config, data, task):
        warn(line)
    leaks = [str(found.column) for found in find_leaks(data, LEAK_ROWS, LEAK_COLUMNS)] if data.spec.columns else []
    if leaks:
        names = ", ".join(f"`{name}`" for name in leaks[:MAX_NAMES]) + (", ..." if len(leaks) > MAX_NAMES else "")
        verb = "column {} alone predicts" if len(leaks) == 1 else "each of the columns {} alone predicts"
        note(
            f"leak: {verb.format(names)} the target; if new data does not have it, leave it out: "
            f"`--set dataset.ignore='{json_text(leaks[:MAX_NAMES])}'`"
        )
