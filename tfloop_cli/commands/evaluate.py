"""`tfloop evaluate`: evaluates the weights of a run on a split."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfloop_cli.commands.opening import compared_fingerprint, run_path, set_up, use_checkpoint
from tfloop_cli.config.data_paths import DATA
from tfloop_cli.engine.checkpoints.storage import restore
from tfloop_cli.engine.data import build_data
from tfloop_cli.engine.evaluation import Evaluation, Evaluator
from tfloop_cli.engine.loop import TrainSteps
from tfloop_cli.engine.tasks import build_task, evaluated_metrics
from tfloop_cli.engine.training.setup import build_state
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import Consumer, Evaluated, to_each
from tfloop_cli.report.classes import class_scores, confusion_matrix, confusions
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

    Examples are encoded as the run's. The training file is read only if the split is held out of it.

    Returns the checkpoint, the evaluation, and the names of the classes; no names if it has no predicted classes.
    """
    return use_checkpoint(folder, options.checkpoint, lambda checkpoint: _measure(checkpoint, options, console))


def _measure(
    checkpoint: Checkpoint, options: Options, console: Console
) -> tuple[Checkpoint, Evaluation, tuple[str, ...]]:
    config = set_up(checkpoint, options.device, options.code, options.trust_code, console)
    encoders, split = checkpoint.encoders() or {}, DATA if options.data else options.split
    how = {"split": split, "other": options.data, "progress": console.show_progress}
    data = build_data(config, console.warn, encoders or None, **how)
    for note in data.encoders.notes if data.encoders else ():
        if note not in encoders.get("notes", ()):  # not known since training
            console.note(note)
    task = build_task(config.task, data.spec)
    if not task.eval_step:
        raise TfloopError(f"task `{config.task.name}` has no `eval_step`: there is nothing to evaluate")
    state = build_state(task, data, config, checkpoint.manifest["total_steps"], restored=True)
    require_metrics(options.thresholds, evaluated_metrics(task), split, data.splits)
    fingerprint = compared_fingerprint(data, split, checkpoint, console)
    restore(checkpoint, state, TrainSteps(state, data, task, config).trace, fingerprint=fingerprint)

    step, epoch = checkpoint.manifest["step"], checkpoint.manifest["epoch"]
    console.info(f"evaluating {checkpoint.path} (step {step:,}, epoch {epoch})")
    with data.explain_errors():
        evaluation = Evaluator(state, data, task, config).run_with_predictions(split)
    return checkpoint, evaluation, () if evaluation.labels is None else data.spec.class_names
