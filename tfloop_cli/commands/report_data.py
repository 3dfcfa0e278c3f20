"""The part of `tfloop report --data`: evaluates a run on other data, in place of its test split. Loads TensorFlow."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tfloop_cli.commands.final_evaluation import examples_of, outputs_of
from tfloop_cli.commands.opening import RunWithData, open_with_data, set_up, use_checkpoint
from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.engine.kept_outputs import KeptOutputs
from tfloop_cli.engine.trained_run import TrainedRun
from tfloop_cli.report.importance import Importance, importance_of
from tfloop_cli.report.reading import OtherData, ReportedRun
from tfloop_cli.runs.checkpoints import Checkpoint
from tfloop_cli.terminal.console import Console


def open_run(
    run: ReportedRun, data: Path, console: Console, code: Sequence[Path] = (), trust_code: bool = False
) -> RunWithData:
    """Returns a trained run with other data; see `open_with_data` and `set_up` for arguments and errors."""

    def opened(checkpoint: Checkpoint) -> RunWithData:
        config = set_up(checkpoint, "auto", code, trust_code, console)
        return open_with_data(checkpoint, config, console, other=data)

    return use_checkpoint(run.record.run.path, None, opened)


def with_data(run: ReportedRun, opened: RunWithData, path: Path, console: Console) -> ReportedRun:
    """Returns a run whose report shows other data: its outputs, examples and metrics. Nothing is written.

    Args:
        run: as it was read.
        opened: the trained run with that data.
        path: of the data.
        console: prints why the outputs are unknown.

    Raises:
        TfloopError: an example cannot be read (exit code 4).
    """
    data, split = opened.data, opened.split
    kept = KeptOutputs(opened.task, data.examples(split), console.note)
    with data.explain_errors():
        evaluation = Evaluator(opened.state, data, opened.task, opened.config, kept).run(split, lambda: False)
    assert evaluation is not None
    outputs = outputs_of(data, evaluation, kept)
    metrics = evaluation.metrics | {"examples": evaluation.examples}
    other = OtherData(path.resolve().name, data.fingerprint, metrics)
    examples = examples_of(data, split, outputs) if outputs else None
    return replace(run, outputs=outputs, examples=examples, other=other)


def importance(run: ReportedRun, opened: RunWithData) -> Importance:
    """Returns the importance of the columns on the data of `with_data`; `why_unknown` is None."""
    opened.state.keep_ema_weights()
    encoders = opened.checkpoint.encoders() or {}
    trained = TrainedRun(opened.checkpoint, opened.config, opened.data.spec, encoders, opened.task, opened.state)
    return importance_of(run, lambda inputs: np.asarray(trained.scores(inputs)))
