"""What the training loop says while it runs: plain numbers and strings, no tensors.

`fit` yields these; checkpoints, the recorder and the display consume them. At every event the training state is at
rest, so a checkpoint taken there is exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Metrics = Mapping[str, float]  # a metric's name -> its mean over examples


@dataclass(frozen=True)
class RunStarted:
    """Before the first step.

    Attributes:
        run: path of the run folder, as it may be typed again.
        step: training steps done already (0 unless resumed).
        config: the resolved config, as `config.yaml` keeps it.
        epochs, steps_per_epoch, examples_per_epoch: the work ahead.
        metrics: names of the task's metrics, in the order of the table's columns.
        facts: short texts for the header: model, parameters, device, precision, threads.
        skipped_examples: a split's name -> its bad examples that were left out; see `on_bad_example`.
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


@dataclass(frozen=True)
class Progress:
    """After each call of the compiled inner loop, about five times a second.

    Attributes:
        epoch: the running epoch, counted from 1.
        step: training steps done in the whole run.
        epoch_step: steps done in this epoch.
        metrics: means over the epoch so far.
        examples_per_second: over the last call.
        phase: "train" or "validation"; in validation `epoch_step` counts examples.
        phase_steps: how many steps, or examples, the phase has.
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
    """After an epoch and its validation.

    Attributes:
        train: means over the epoch's examples, taken while the weights changed.
        validation: means over the validation split; None where there is none.
        best: whether this epoch's validation is the best so far.
        retraces: how often the step had to be compiled again since the first epoch of this process, each time for as
            long as at the start: a batch came in another shape or type than TensorFlow was told of.
        skipped_batches: of the whole run so far, because a number was not finite; see `on_nonfinite` and `precision`.
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


@dataclass(frozen=True)
class Evaluated:
    """One split, every example once, with training=False."""

    split: str
    examples: int
    metrics: Metrics
    checkpoint: str


@dataclass(frozen=True)
class Stopped:
    """The last step is behind us.

    Attributes:
        reason: "completed", "early_stopping", "max_time", or the signal: "SIGINT", "SIGTERM", "SIGUSR1".
    """

    reason: str
    step: int


@dataclass(frozen=True)
class RunEnded:
    """Everything is on disk: the last event of a run.

    Attributes:
        reason: as `Stopped` says, or "diverged" or "failed".
        checkpoint: the last one; `weights_sha256` is of its weights.
    """

    reason: str
    run: str
    checkpoint: str
    weights_sha256: str
    seconds: float


Event = RunStarted | Progress | EpochDone | Evaluated | Stopped | RunEnded
