"""`tfloop evaluate`: scores a run's weights on a split."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tfloop_cli import plugins
from tfloop_cli.bars import Bar, require_cleared, require_metrics
from tfloop_cli.commands.opening import open_data
from tfloop_cli.configfile import from_mapping
from tfloop_cli.console import Console
from tfloop_cli.engine import runtime
from tfloop_cli.engine.checkpoint import Checkpoint, choose
from tfloop_cli.engine.evaluation import Evaluation, Evaluator
from tfloop_cli.engine.state import TrainState
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import Evaluated
from tfloop_cli.registry import models, tasks
from tfloop_cli.rundir import RunDir, is_checkpoint
from tfloop_cli.scores import ClassScore, Confusion, show_scores

MOST_CONFUSED = 10  # pairs


@dataclass(frozen=True)
class Options:
    """What `tfloop evaluate` is told.

    Attributes:
        split: "test", "validation", "train" or another that the dataset has.
        device: instead of the one that the run was trained on.
        checkpoint: "best", "last" or a step; None for the best where there is one, else the last.
        bars: on the split's metrics.
        code: the user's own modules.
        trust_code: whether to run the copies of such modules that the run folder holds.
    """

    split: str = "test"
    device: str = "auto"
    checkpoint: str | None = None
    bars: list[Bar] = field(default_factory=list)
    code: list[Path] = field(default_factory=list)
    trust_code: bool = False


def evaluate(folder: Path, options: Options, console: Console) -> ExitCode:
    """Rebuilds the model from a checkpoint's config, and measures it on every example of a split.

    Args:
        folder: a run's folder, or a checkpoint's.
        options: see `Options`.
        console: gets the scores.
    """
    checkpoint = Checkpoint.open(
        folder if is_checkpoint(folder) else choose(RunDir(folder).checkpoints, options.checkpoint)
    )
    plugins.load(code_of(checkpoint, options))
    kept, here = checkpoint.manifest["config"], {"device": options.device}
    if kept.get("kernels") == "native":
        here["kernels"] = "auto"  # what was trained with them is scored without them on another machine
    config = from_mapping(kept | here, str(checkpoint.path))
    with console.quiet_stderr():
        config = runtime.setup(config)
    data = open_data(config, console)
    task = tasks.build(config.task, data.spec)
    require_metrics(options.bars, task.metrics, options.split, data.splits)
    total_steps = config.epochs * data.steps_per_epoch
    state = TrainState.create(models.build(config.model, data.spec), task, data.spec, config, total_steps)
    checkpoint.restore(state)
    if checkpoint.manifest["data"] != data.fingerprint:
        console.warn("the data is not what the checkpoint was trained on; the score may mean something else")

    with data.explained():
        evaluation = Evaluator(state, data, task).run_with_predictions(options.split)
    evaluated = Evaluated(options.split, evaluation.examples, evaluation.metrics, str(checkpoint.path))
    counts = confusion_matrix(evaluation, data.spec.classes)
    show_scores(
        console, evaluated, class_scores(counts, data.spec.class_names), confusions(counts, data.spec.class_names)
    )
    require_cleared(options.bars, options.split, evaluation.metrics)
    return ExitCode.DONE


def code_of(checkpoint: Checkpoint, options: Options) -> list[Path]:
    """The user's modules that the checkpoint's config needs; what lies in a run folder runs only if told to."""
    copies = checkpoint.manifest["code"]
    if options.code or not copies:
        return options.code
    if not options.trust_code:
        raise TfloopError(
            f"this run was made with code of its own: {', '.join(copies)}",
            hint="`--trust-code` runs the copies in the run folder; `--code FILE` takes yours",
        )
    return plugins.kept_code(RunDir(checkpoint.path.resolve().parent.parent).code, copies)


def confusion_matrix(evaluation: Evaluation, classes: int) -> np.ndarray:
    """How often each true class (row) was predicted as each class (column): int64 [classes, classes]."""
    counts = np.zeros((classes, classes), np.int64)
    if evaluation.labels is None:
        return counts[:0, :0]
    np.add.at(counts, (evaluation.labels, evaluation.predictions), 1)
    return counts


def class_scores(counts: np.ndarray, names: tuple[str, ...]) -> list[ClassScore]:
    """Precision, recall and F1 of each class, NaN where there is nothing to divide by."""
    right, support, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall, f1 = right / predicted, right / support, 2 * right / (support + predicted)
    rows = zip(names, precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=False)
    return [ClassScore(*row) for row in rows]


def confusions(counts: np.ndarray, names: tuple[str, ...]) -> list[Confusion]:
    """The pairs of classes that were taken for each other most often, the worst first."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [divmod(int(place), len(counts)) for place in order if wrong.flat[place]]
    return [
        Confusion(names[true], names[guess], int(wrong[true, guess]), float(wrong[true, guess] / counts[true].sum()))
        for true, guess in pairs
    ]
