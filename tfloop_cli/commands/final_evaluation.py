"""The end of `tfloop train`: the best weights are evaluated on the test split, and the run keeps what they predict."""

import math
from collections.abc import Callable

import numpy as np

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.data import Data, InputSpec
from tfloop_cli.engine.data.structures import is_several, named_values
from tfloop_cli.engine.evaluation import Evaluation, Evaluator
from tfloop_cli.engine.evaluation_files import (
    EVEN,
    EXTREME,
    MAX_BYTES,
    Examples,
    TestOutputs,
    positions_to_keep,
    write_examples,
    write_outputs,
)
from tfloop_cli.engine.kept_outputs import KeptOutputs
from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Task
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.terminal.console import Console


def evaluate_test(
    run: RunFolder, state: TrainState, data: Data, task: Task, config: Config, stop: Callable[[], object],
    console: Console,
) -> Evaluation | None:  # fmt: skip
    """Evaluates the test split; with `save_evaluation`, keeps its outputs and some of its examples.

    A disk error is a warning: the metrics are what matters.

    Args:
        run: receives the files in `evaluation/`.
        state, data, task, config: of the run.
        stop: checked between two chunks.
        console: prints why something is not kept.

    Returns: the metrics; None if `stop` returned true.
    """
    kept = KeptOutputs(task, data.examples("test"), console.note) if config.save_evaluation else None
    evaluation = Evaluator(state, data, task, config, kept).run("test", stop)
    if evaluation is None or kept is None:
        return evaluation
    if outputs := outputs_of(data, evaluation, kept):
        try:
            write_outputs(run.evaluation, outputs)
            write_examples(run.evaluation, examples_of(data, "test", outputs))
        except OSError as error:
            console.warn(f"{run.evaluation} cannot be written: {error.strerror or error}; `tfloop report` lacks it")
    return evaluation


def examples_of(data: Data, split: str, outputs: TestOutputs) -> Examples:
    """Returns the raw examples of a split with these outputs that are kept: evenly spaced ones, the worst and best."""
    size = sum(np.dtype(one.dtype).itemsize * _values(one) for _, one in named_values(data.spec.inputs))
    limit = min(EVEN + 2 * EXTREME, max(1, MAX_BYTES // size))
    positions = positions_to_keep(len(outputs.scores), outputs.loss, limit)
    inputs, targets = (dict(named_values(one)) for one in data.raw_examples(split, positions))
    return Examples(positions, inputs, targets, data.descriptions(split, positions))


def outputs_of(data: Data, evaluation: Evaluation, kept: KeptOutputs) -> TestOutputs | None:
    """Returns the targets and outputs that `kept` has of an evaluation; None if it has none."""
    targets = data.spec.targets
    return kept.result(evaluation.values, has_classes=is_several(targets) or targets.classes > 0)


def _values(spec: InputSpec) -> int:
    """Returns the number of values of an input; of a text, whose length is not known, as if it were short."""
    return math.prod(1 if length is None else length for length in spec.shape)
