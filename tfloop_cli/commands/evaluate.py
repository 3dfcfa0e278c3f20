"""`tfloop evaluate`: evaluates the weights of a run on a split."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfloop_cli.commands.opening import open_with_data, run_path, set_up, use_checkpoint
from tfloop_cli.engine.evaluation import Evaluation, Evaluator
from tfloop_cli.engine.tasks import evaluated_metrics
from tfloop_cli.errors import ExitCode
from tfloop_cli.events import Consumer, Evaluated, to_each
from tfloop_cli.report.classes import class_scores, confusion_matrix, confusions
from tfloop_cli.runs.baseline import compare_examples
from tfloop_cli.runs.checkpoints import Checkpoint
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.scores import show_scores
from tfloop_cli.thresholds import Threshold, check_document, require_metrics, require_passed


@dataclass(frozen=True)
class Options:
    """The options of `tfloop evaluate`.

    Attributes:
        split: "test", "validation", "train" or another split of the dataset.
        data: a file or folder to evaluate on in place of a split; None for the split.
        device: replaces the device of the run.
        checkpoint: "best", "last" or a step; None for the best if there is one, else the last.
        thresholds: limits for the metrics of the split.
        code: the user's own modules.
        trust_code: whether to run the copies of such modules in the run folder.
        moved: where the run's data is now, as `dataset.KEY=VALUE`.
        consumers: get the metrics before the thresholds are checked.
    """

    split: str = "test"
    data: Path | None = None
    device: str = "auto"
    checkpoint: str | None = None
    thresholds: list[Threshold] = field(default_factory=list)
    code: list[Path] = field(default_factory=list)
    trust_code: bool = False
    consumers: Sequence[Consumer] = ()
    moved: list[str] = field(default_factory=list)


def evaluate(folder: Path, options: Options, console: Console) -> ExitCode:
    """Evaluates a run, and prints its metrics, the scores of each class, and the most confused pairs of classes.

    Args:
        folder: a run folder or a checkpoint folder.
        options: see `Options`.
        console: prints the scores.
    """
    checkpoint, evaluation, class_names = measure(folder, options, console)
    facts = {"run": run_path(checkpoint), **{key: checkpoint.manifest[key] for key in ("step", "epoch")}}
    evaluated = Evaluated(evaluation.split, evaluation.examples, evaluation.metrics, str(checkpoint.path))
    to_each(*options.consumers)(evaluated)
    compare_examples(options.thresholds, evaluation.examples, console.warn)
    if options.thresholds:
        facts["checks"] = [check_document(one, evaluation.metrics) for one in options.thresholds]
    scores, confused = [], []
    if class_names:
        counts = confusion_matrix(evaluation.labels, evaluation.predictions, len(class_names))
        scores, confused = class_scores(counts, class_names), confusions(counts, class_names)
    show_scores(console, evaluated, scores, confused, facts)
    require_passed(options.thresholds, evaluation.split, evaluation.metrics)
    return ExitCode.DONE


def measure(folder: Path, options: Options, console: Console) -> tuple[Checkpoint, Evaluation, tuple[str, ...]]:
    """Builds the model from the config of a checkpoint, and evaluates it on every example of a split or of other data.

    Returns the checkpoint, the evaluation, and the names of the classes; no names if it has no predicted classes.
    """
    return use_checkpoint(folder, options.checkpoint, lambda checkpoint: _measure(checkpoint, options, console))


def _measure(
    checkpoint: Checkpoint, options: Options, console: Console
) -> tuple[Checkpoint, Evaluation, tuple[str, ...]]:
    config = set_up(checkpoint, options.device, options.code, options.trust_code, console, options.moved)
    run = open_with_data(checkpoint, config, console, split=options.split, other=options.data)
    require_metrics(options.thresholds, evaluated_metrics(run.task), run.split, run.data.splits)

    step, epoch = checkpoint.manifest["step"], checkpoint.manifest["epoch"]
    console.info(f"evaluating {checkpoint.path} (step {step:,}, epoch {epoch})")
    with run.data.explain_errors():
        evaluation = Evaluator(run.state, run.data, run.task, config).run_with_predictions(run.split)
    return checkpoint, evaluation, () if evaluation.labels is None else run.data.spec.class_names
