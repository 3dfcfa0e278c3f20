"""Evaluates a trained run on arrays in memory."""

from typing import Any

from tfloop_cli.engine.data import Data, from_arrays
from tfloop_cli.engine.data.build_context import DATA
from tfloop_cli.engine.data.structures import names_of
from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.engine.trained_run import TrainedRun
from tfloop_cli.errors import ExitCode, TfloopError


def evaluate_arrays(run: TrainedRun, inputs: Any, targets: Any) -> dict[str, float]:
    """Returns the metrics of a run on arrays, by name.

    Args:
        run: the trained model.
        inputs: [examples, ...], as the run's dataset has them; several as a dict or a tuple.
        targets: [examples, ...], likewise: classes as numbers, in the order of the run's class names.

    Raises:
        TfloopError: the arrays are not like those of the run (exit code 4), or the task evaluates nothing (2).
    """
    if not run.task.eval_step:
        raise TfloopError(f"task `{run.config.task.name}` has no `eval_step`: there is nothing to evaluate")
    dataset = from_arrays(
        {DATA: (inputs, targets)},
        class_names=getattr(run.spec.targets, "class_names", ()),
        target_spec=run.spec.targets,
    )
    if dataset.spec.inputs != run.spec.inputs:
        raise TfloopError(
            f"the arrays are {_described(dataset.spec.inputs)}, and the run needs {_described(run.spec.inputs)}",
            code=ExitCode.DATA,
        )
    data = Data(dataset, run.config, training=False)
    return Evaluator(run.state, data, run.task, run.config).run_with_predictions(DATA).metrics


def _described(inputs: Any) -> str:
    """Returns dtype and shape of one input, or the names of several."""
    return f"{inputs.dtype} {list(inputs.shape)} each" if hasattr(inputs, "dtype") else names_of(inputs)
