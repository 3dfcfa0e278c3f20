"""Evaluates a trained run on arrays in memory."""

from typing import Any

import numpy as np

from tfloop_cli.engine.data import Data, from_arrays
from tfloop_cli.engine.data.build_context import DATA
from tfloop_cli.engine.data.spec import TargetSpec
from tfloop_cli.engine.data.structures import Structure, map_structure, named_values
from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.engine.inference.arrays import ArrayInputs
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
        {DATA: (ArrayInputs(run.spec).as_trained(inputs), _like_those_of(run, targets))},
        class_names=getattr(run.spec.targets, "class_names", ()),
        target_spec=run.spec.targets,
    )
    data = Data(dataset, run.config, training=False)
    return Evaluator(run.state, data, run.task, run.config).run_with_predictions(DATA).metrics


def _like_those_of(run: TrainedRun, targets: Any) -> Structure:
    """Returns targets with the shape of the run's; a column of one number is a number."""
    arrays = map_structure(np.asarray, targets)
    found, wanted = ([name for name, _ in named_values(one)] for one in (arrays, run.spec.targets))
    if found != wanted:
        raise TfloopError("the targets are not as many, or not of the names, as those of the run", code=ExitCode.DATA)
    return map_structure(_shaped, run.spec.targets, arrays)


def _shaped(spec: TargetSpec, array: np.ndarray) -> np.ndarray:
    shape = array.shape[1:]
    if shape != spec.shape and {shape, spec.shape} != {(), (1,)}:
        problem = f"each target has the shape {list(shape)}, and those of the run have {list(spec.shape)}"
        raise TfloopError(problem, code=ExitCode.DATA)
    return array.reshape(len(array), *spec.shape) if array.ndim else array
