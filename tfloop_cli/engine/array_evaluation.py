"""Evaluates a trained run on arrays in memory."""

from typing import Any

import numpy as np

from tfloop_cli.engine.data import Data, from_arrays
from tfloop_cli.engine.data.build_context import DATA
from tfloop_cli.engine.data.spec import TargetSpec
from tfloop_cli.engine.data.structures import Structure, in_order_of, is_several, map_structure, named_values
from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.engine.inference.arrays import ArrayInputs
from tfloop_cli.engine.trained_run import TrainedRun
from tfloop_cli.errors import ExitCode, TfloopError

OF_FILES = ("arrays", "images", "table", "text")  # datasets whose class names are what their files have


def evaluate_arrays(run: TrainedRun, inputs: Any, targets: Any) -> dict[str, float]:
    """Returns the metrics of a run on arrays, by name.

    Args:
        run: the trained model.
        inputs: [examples, ...], as the run's dataset has them; several as a dict or a tuple.
        targets: [examples, ...], likewise: classes as the data of the run has them, or as their positions among the
            run's class names, if these are words.

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
    arrays = map_structure(np.asarray, in_order_of(run.spec.targets, targets))
    found, wanted = ([name for name, _ in named_values(one)] for one in (arrays, run.spec.targets))
    if found != wanted:
        raise TfloopError("the targets are not as many, or not of the names, as those of the run", code=ExitCode.DATA)
    shaped = map_structure(_shaped, run.spec.targets, arrays)
    return shaped if is_several(run.spec.targets) else _numbered(run, shaped)


def _numbered(run: TrainedRun, targets: np.ndarray) -> np.ndarray:
    """Returns classes as their positions among the run's; words, and numbers of the run's data such as 5 and 10, are
    looked up in the class names.
    """
    names, spec = run.class_names, run.spec.targets
    are_values = run.config.dataset.name in OF_FILES and all(map(_is_whole, names))
    if are_values and not spec.one_hot and targets.dtype.kind == "f" and (targets == np.floor(targets)).all():
        targets = targets.astype(np.int64)  # a column of whole numbers of a program may have floats
    if not names or spec.one_hot or targets.dtype.kind not in ("iuUSO" if are_values else "USO"):
        return targets
    positions = {name: number for number, name in enumerate(names)}
    texts = [one.decode() if isinstance(one, bytes) else str(one) for one in targets.reshape(-1).tolist()]
    if unknown := next((text for text in texts if text not in positions), None):
        raise TfloopError(
            f"the target of an example is `{unknown}`, which is no class of the run",
            hint=f"the classes are {', '.join(names[:20])}", code=ExitCode.DATA,
        )  # fmt: skip
    return np.array([positions[text] for text in texts], np.int32).reshape(targets.shape)


def _is_whole(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def _shaped(spec: TargetSpec, array: np.ndarray) -> np.ndarray:
    shape = array.shape[1:]
    if shape != spec.shape and {shape, spec.shape} != {(), (1,)}:
        problem = f"each target has the shape {list(shape)}, and those of the run have {list(spec.shape)}"
        raise TfloopError(problem, code=ExitCode.DATA)
    return array.reshape(len(array), *spec.shape) if array.ndim else array
