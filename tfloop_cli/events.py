"""The events of a training run: plain numbers and strings, no tensors.

The generator `fit` yields them; checkpoints, recorder and display consume them. The training state does not change
while an event is handled, so a checkpoint that is taken then is exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
        code: paths of the user's `--code` files.
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
    code: tuple[str, ...] = ()
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


@dataclass(frozen=True)
class SplitSummary:
    """One split of inspected data.

    Attributes:
        name: of the split.
        examples: their number.
        classes: name of each class -> its number of examples; None without classes.
        targets: of targets that are numbers: "mean", "deviation", "minimum" and "maximum", each a number per target.
        repeated: how many examples equal an earlier one of the split, as the model sees them; None if not compared.
    """

    name: str
    examples: int
    classes: Mapping[str, int] | None = None
    targets: Mapping[str, list[float]] | None = None
    repeated: int | None = None


@dataclass(frozen=True)
class InputSummary:
    """One input of inspected data.

    Attributes:
        name: of the input; "" for the only one.
        shape: of one example; None for a length that differs.
        dtype: of the data.
        mean, deviation: over a sample of the training split, as the model receives the input before augmentation: one
            number per channel of images, else one number; empty for ids.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something about the data that is likely to be wrong.

    Attributes:
        kind: "invalid_examples", "missing_class", "duplicates", "shared_groups", "constant_column" or "leak".
        message: one sentence.
        split, column: where, if it is one place.
        count: number of examples, if it is about some.
    """

    kind: str
    message: str
    split: str | None = None
    column: str | None = None
    count: int | None = None


@dataclass(frozen=True)
class Picture:
    """Images side by side, for a terminal.

    Attributes:
        label: what they have in common.
        width: of the picture, in pixels.
        pixels: RGB, one byte per value, row by row.
    """

    label: str
    width: int
    pixels: bytes


@dataclass(frozen=True)
class DataInspected:
    """What a training run would read; see `tfloop inspect data`.

    Attributes:
        dataset, task: their names.
        splits: in the order train, validation, test, others.
        inputs: what an example has.
        columns: of a table: see `RunStarted.columns`; numbers also have `mean` and `deviation`.
        notes: what was decided about the data, one sentence each.
        examples: the first training examples as they are in the file: name of a column -> its text.
        image: path of the image grid; None if there is none.
        rows: what the rows of the grid contain: names of classes; empty for any training images.
        findings: what is likely to be wrong.
        pictures: parts of the grid; not in documents.
    """

    dataset: str
    task: str
    splits: tuple[SplitSummary, ...]
    inputs: tuple[InputSummary, ...]
    columns: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    examples: tuple[Mapping[str, str], ...] = ()
    image: str | None = None
    rows: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    pictures: tuple[Picture, ...] = ()


Event = RunStarted | Progress | EpochDone | Evaluated | Stopped | RunEnded | DataInspected
