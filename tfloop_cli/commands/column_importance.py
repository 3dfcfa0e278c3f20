"""The part of `tfloop report` that needs the model: the importance of the columns of a table. Loads TensorFlow."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfloop_cli.commands.opening import open_trained_run
from tfloop_cli.errors import TfloopError
from tfloop_cli.report.blocks import Omitted
from tfloop_cli.report.importance import PART, Importance, importance_of
from tfloop_cli.report.reading import ReportedRun
from tfloop_cli.terminal.console import Console


def column_importance(
    run: ReportedRun, console: Console, code: Sequence[Path] = (), trust_code: bool = False
) -> Importance | Omitted:
    """Returns the importance of the columns, or why the model cannot be used; a report is worth having without it."""
    try:
        trained = open_trained_run(run.record.run.path, console, code=code, trust_code=trust_code)
        return importance_of(run, lambda inputs: np.asarray(trained.scores(inputs)))
    except TfloopError as error:
        return Omitted(PART, error.problems[0].message)
