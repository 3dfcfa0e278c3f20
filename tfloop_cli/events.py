"""The events of a training run: plain numbers and strings, no tensors.

The generator `fit` yields them; checkpoints, recorder and display consume them. The training state does not change
while an event is handled, so a checkpoint that is taken then is exact.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Metrics = Mapping[str, float]  # name of a metric -> its value, a mean over examples or a function of a sum over them

FINISHED = ("completed", "early_stopping")  # reasons of a run that trained to its end


@dataclass(frozen=True)
class RunStarted:
    """Comes before the first step.

    Attributes:
        run: path of the run folder, in a form that can be typed again.
        step: completed training steps (0 unless resumed).
        config: the resolved config, as in `config.yaml`.
        epochs, steps_per_epoch, examples_per_epoch: the length of the run.
        metrics: names of the task's metrics, in the order of the table's columns.
        facts: short texts for the header: model, parameters, device, precision, threads.
        skipped_examples: name of a split -> its skipped invalid examples; see `on_bad_example`.
        code_options: the options that load the user's code again: `--code FILE`, or `--trust-code`.
        evaluated: the split for `tfloop evaluate`: test if there is one, else validation, else train; "" if the task
            has no evaluation step.
        columns: of a table: what is shown of each column, `name`, `type`, `missing`, `distinct` and `use`.
        notes: what was decided about the data, one sentence each.
    """

    run: str
    step: int
    config: Mapping[str, Any]
    epochs: int
    steps_per_epoch: int
    examples_per_epoch: int
    metrics: tuple[str, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    skipped_examples: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    code_options: tuple[str, ...] = ()
    evaluated: str = ""
    columns: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Progress:
    """Comes after each call of the compiled inner loop, about five times per second.

    Attributes:
        epoch: the current epoch, counted from 1.
        step: completed training steps in the whole run.
        epoch_step: completed steps in this epoch.
        metrics: means over the epoch so far.
        examples_per_second: during the last call; 0 in validation.
        phase: "train" or "validation"; in validation `epoch_step` counts examples.
        phase_steps: the number of steps, or examples, in the phase.
    """

    epoch: int
    step: int
    epoch_step: int
    metrics: Metrics
    examples_per_second: float
    phase: str = "train"
    phase_steps: int = 0


@dataclass(frozen=True)
class EpochDone:
    """Comes after an epoch and its validation.

    Attributes:
        train: means over the epoch's examples, measured while the weights changed.
        validation: means over the validation split; None if there is none.
        best: whether this epoch is the best so far in validation; see `BestMetric`.
        retraces: how often the training step was retraced since the first epoch of this process, because a batch had
            another shape or dtype. Each takes as long as the first compilation.
        skipped_batches: in the whole run so far, because of non-finite values; see `on_nonfinite`.
        learning_rate: of the next update, with warm-up and schedule; None for several optimizers.
    """

    epoch: int
    step: int
    train: Metrics
    validation: Metrics | None
    train_seconds: float
    validation_seconds: float
    examples_per_second: float
    best: bool = False
    retraces: int = 0
    skipped_batches: int = 0
    learning_rate: float | None = None


@dataclass(frozen=True)
class Evaluated:
    """The metrics of one split: every example once, with training=False."""

    split: str
    examples: int
    metrics: Metrics
    checkpoint: str


@dataclass(frozen=True)
class Stopped:
    """Comes after the last training step.

    Attributes:
        reason: "completed", "early_stopping", "max_time", or the signal: "SIGINT", "SIGTERM", ...
    """

    reason: str
    step: int


@dataclass(frozen=True)
class RunEnded:
    """The last event of a run: everything is on disk.

    Attributes:
        reason: that of `Stopped`, or "diverged" or "failed".
        checkpoint: the last one; `weights_sha256` is the checksum of its weights.
    """

    reason: str
    run: str
    checkpoint: str
    weights_sha256: str
    seconds: float


Event = RunStarted | Progress | EpochDone | Evaluated | Stopped | RunEnded


class Consumer(Protocol):
    """What records, saves, draws or shows events."""

    def handle(self, event: Event) -> None: ...


def to_each(*consumers: Consumer) -> Callable[[Event], None]:
    """Returns a function that passes an event to each consumer, in order."""

    def emit(event: Event) -> None:
        for consumer in consumers:
            consumer.handle(event)

    return emit
