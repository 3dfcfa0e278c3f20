"""`tfloop train --dry-run`: builds everything, trains and evaluates a little, and forecasts time, memory and disk."""

import resource
import time
from dataclasses import asdict, dataclass

from tfloop_cli.config.schema import Config
from tfloop_cli.engine.trial import Trial
from tfloop_cli.errors import ExitCode
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.tables import aligned, byte_size, duration

SECONDS = 2.0  # of training, and of evaluation, after the first step of each
MAX_LAYERS = 40  # that are shown
CHECKPOINTS_IN_WORK = 2  # the best one, and the one that is being written, besides those that are kept


@dataclass(frozen=True)
class Forecast:
    """What a whole run needs.

    Attributes:
        steps, epochs: of the run.
        first_step_seconds: with the compilation of the training step.
        step_seconds: of a step after that.
        evaluation_seconds: of the split that is evaluated after each epoch; None if there is none.
        seconds: of the run, without its start.
        memory_bytes: the peak so far, with a copy of the state while it is saved.
        checkpoint_bytes: of one checkpoint.
        disk_bytes: the most that the checkpoints of the run need.
    """

    steps: int
    epochs: int
    first_step_seconds: float
    step_seconds: float
    evaluation_seconds: float | None
    seconds: float
    memory_bytes: int
    checkpoint_bytes: int
    disk_bytes: int


def dry_run(config: Config, console: Console) -> ExitCode:
    """Prints shapes, layers and a forecast. No run folder is created; decoded data is cached as in training.

    Raises: TfloopError, as in `train`.
    """
    started = time.monotonic()
    with console.quiet_stderr():
        trial = Trial.set_up(config, console.note, console.warn, console.show_progress)
    start_seconds = time.monotonic() - started
    forecast = _forecast(trial)
    layers, (trainable, other) = list(trial.layers()), trial.parameters()
    if console.json:
        rows = [dict(zip(("model", "layer", "output", "parameters"), layer, strict=True)) for layer in layers]
        document = {"event": "dry_run", "splits": trial.splits(), **trial.shapes(), "layers": rows}
        parameters = {"trainable_parameters": trainable, "other_parameters": other, "start_seconds": start_seconds}
        console.document(document | parameters | {"forecast": asdict(forecast)})
        return ExitCode.DONE
    for line in _lines(trial, layers, forecast, start_seconds):
        console.result(line)
    return ExitCode.DONE


def _forecast(trial: Trial) -> Forecast:
    steps, epochs = trial.config.epochs * trial.data.steps_per_epoch, trial.config.epochs
    first, spent, done = trial.run(1), 0.0, 0
    while spent < SECONDS and 1 + done < steps:
        left = trial.data.steps_per_epoch - (1 + done) % trial.data.steps_per_epoch
        count = min(max(1, done), left)
        spent += trial.run(count)
        done += count
    each = spent / done if done else first
    evaluation = None
    if found := trial.evaluate(SECONDS):
        split, examples, seconds = found
        evaluation = seconds * trial.data.examples(split) / examples
    keep = trial.config.checkpoint.keep + CHECKPOINTS_IN_WORK
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Forecast(
        steps, epochs, first, each, evaluation, first + (steps - 1) * each + epochs * (evaluation or 0.0),
        peak + trial.state_bytes, trial.state_bytes, keep * trial.state_bytes,
    )  # fmt: skip


def _lines(trial: Trial, layers: list[tuple[str, str, str, int]], forecast: Forecast, start: float) -> list[str]:
    splits = ", ".join(f"{count:,} {name}" for name, count in trial.splits().items())
    trainable, other = trial.parameters()
    several = len(trial.state.models) > 1
    rows = [["layer", "output", "parameters"]]
    rows += [[f"{model}/{layer}" if several else layer, shape, f"{count:,}"] for model, layer, shape, count in layers]
    more = [f"... and {len(layers) - MAX_LAYERS} more layers"] if len(layers) > MAX_LAYERS else []
    evaluation = "" if forecast.evaluation_seconds is None else f", validation {duration(forecast.evaluation_seconds)}"
    facts = [
        ["examples", splits],
        *([name, text] for name, text in trial.shapes().items()),
        ["parameters", f"{trainable:,} trainable, {other:,} others"],
        ["start", duration(start)],
        ["first step", f"{duration(forecast.first_step_seconds)}, with its compilation"],
        ["step", f"{forecast.step_seconds * 1000:,.2f} ms, {trial.data.batch_size} examples"],
        ["epoch", f"{duration(trial.data.steps_per_epoch * forecast.step_seconds)}{evaluation}"],
        ["run", f"{duration(forecast.seconds)} for {forecast.epochs:,} epochs, {forecast.steps:,} steps"],
        ["memory", f"{byte_size(forecast.memory_bytes)} at the peak"],
        ["disk", f"{byte_size(forecast.disk_bytes)} at most, {byte_size(forecast.checkpoint_bytes)} per checkpoint"],
    ]
    return [*aligned(rows[: MAX_LAYERS + 1], left=2), *more, "", *aligned(facts, left=2), "", "nothing was kept"]
