"""The schema of a config: every key with its type, bounds, unit, default and description.

The schema does not depend on files or on registered components. `loading` makes a Config from YAML and fills in the
components' defaults. The descriptions appear in docs/config.md and, through `tfloop config schema`, in editors.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    Strict,
    StringConstraints,
    WithJsonSchema,
)

from tfloop_cli.config.sections import STRICT, CheckpointConfig, EarlyStoppingConfig
from tfloop_cli.registry import Component
from tfloop_cli.registry.argument_types import (
    Description,
    ExclusiveFraction,
    NonNegativeInt,
    OnResume,
    PositiveFloat,
    PositiveInt,
)


def _component(value: Any) -> Any:
    """Converts a string, which is short for {name: ...}, or a mapping into a Component."""
    if isinstance(value, str):
        return Component(value)
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return Component(value["name"], {key: inner for key, inner in value.items() if key != "name"})
    return value


def _mapping(component: Component) -> dict[str, Any]:
    return {"name": component.name, **component.arguments}


ComponentField = Annotated[
    Component,
    BeforeValidator(_component),
    PlainSerializer(_mapping),
    WithJsonSchema({"type": ["string", "object"]}),
    Description("name, or a mapping with `name` and its arguments"),
]
Device = Annotated[
    str,
    StringConstraints(pattern=r"^(auto|cpu|gpu|gpu:[0-9]{1,4})$"),
    Description("`auto`, `cpu`, `gpu` or `gpu:N` (`gpu:0`)"),
]
HeldOutSize = Annotated[
    Literal["auto"] | NonNegativeInt | ExclusiveFraction,
    Description("`auto`, 0 (none), a number of examples, or a fraction strictly between 0 and 1"),
]
ValidationSize = Annotated[
    Literal["auto", "numbers"] | NonNegativeInt | ExclusiveFraction,
    Description("`auto`, `numbers`, 0 (none), a number of examples, or a fraction strictly between 0 and 1"),
]
RunName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$"),
    Description("a name of at most 100 letters, digits, `_`, `-` and `.` that does not begin with `-` or `.`"),
]


class Config(BaseModel):
    """The configuration of a run. Frozen; unknown keys are errors."""

    model_config = STRICT

    dataset: Annotated[ComponentField, OnResume.REFUSED] = Field(
        description="The dataset: one of `tfloop list datasets`, or any TFDS name."
    )
    model: Annotated[ComponentField, OnResume.REFUSED] = Field(description="The model.")
    task: Annotated[ComponentField, OnResume.REFUSED] = Field(
        default=Component("auto"),
        description="The kind of training: loss, metrics and training step. auto: `classification` if the targets are "
        "classes, `regression` if they are numbers. A run keeps the decision.",
    )
    epochs: Annotated[PositiveInt, OnResume.FREE] = Field(
        default=5, description="The number of passes over the training examples."
    )
    max_steps: Annotated[PositiveInt | None, OnResume.FREE] = Field(
        default=None,
        description="Limits the number of training steps on large data: fewer than `epochs` epochs are trained if they "
        "have more steps, but at least one. null: no limit.",
    )
    batch_size: Annotated[Literal["auto"] | PositiveInt, OnResume.REFUSED] = Field(
        default=128,
        description="The number of examples per training step. auto: the largest power of 2 up to a 16th of the "
        "training examples, from 16 to 256.",
    )
    micro_batch_size: Annotated[Literal["auto"] | PositiveInt, OnResume.CHANGES_REST] = Field(
        default="auto",
        description="Gradient accumulation: the number of examples per forward and backward pass; a smaller "
        "number needs less memory. The gradients of the micro-batches are averaged, weighted by their number of "
        "examples, so the gradient equals that of the whole batch within rounding. auto: the whole batch.",
    )
    optimizer: Annotated[ComponentField, OnResume.REFUSED] = Field(
        default=Component("adam"), description="The optimizer: any of Keras' optimizers, with Keras' arguments."
    )
    schedule: Annotated[ComponentField, OnResume.CHANGES_REST] = Field(
        default=Component("constant"),
        description="The learning rate schedule: a multiplier for the optimizer's learning rate.",
    )
    warmup_steps: Annotated[Literal["auto"] | NonNegativeInt, OnResume.CHANGES_REST] = Field(
        default=0,
        description="The number N of steps of a linear warm-up: step k, counted from 0, uses (k + 1) / (N + 1) of the "
        "learning rate. Then the schedule starts at its step 0. auto: a fifth of the steps of the run, at most 100.",
    )
    augment: Annotated[
        tuple[ComponentField, ...],
        Strict(False),
        Description("list of names, or of mappings with `name` and arguments"),
        OnResume.CHANGES_REST,
    ] = Field(default=(), description="Random augmentations of the training examples, applied in this order.")
    test: Annotated[HeldOutSize, OnResume.REFUSED] = Field(
        default="auto",
        description="The test split, which is evaluated at the end: a number of training examples to hold out, a "
        "fraction of them strictly between 0 and 1, 0 for none, or auto: the dataset's own test split, else a tenth of "
        "the training split (nothing if the task has no `eval_step`). What is held out does not depend on `seed`, and "
        "is stratified by class if the targets are classes in memory.",
    )
    validation: Annotated[ValidationSize, OnResume.REFUSED] = Field(
        default="auto",
        description="The validation split, which is evaluated after each epoch: as `test`. Numbers and fractions of "
        "both are those of the dataset's whole training split. For a model with `members` (an ensemble), auto holds "
        "out nothing: the training examples are divided into one fold per member, and each member is trained without "
        "its fold and validated on it (not with `split_by`). numbers: auto if the targets are numbers, 0 for classes.",
    )
    group: Annotated[str | None, OnResume.REFUSED] = Field(
        default=None,
        description="A column of the dataset: examples with the same value, such as those of one patient, are held out "
        "together, so that none is on both sides; the numbers held out are as near as whole groups allow. null: none.",
    )
    split_by: Annotated[str | None, OnResume.REFUSED] = Field(
        default=None,
        description="A column of the dataset with times: the latest training examples are held out for the test split, "
        "those before them for validation. null: none.",
    )
    drop_remainder: Annotated[bool, OnResume.REFUSED] = Field(
        default=False, description="Whether to drop the last batch of an epoch if it is smaller."
    )
    limit_train_batches: Annotated[PositiveInt | None, OnResume.REFUSED] = Field(
        default=None,
        description="For a quick look: the largest number of training batches in an epoch; the next epoch has others. "
        "null: all.",
    )
    limit_validation_batches: Annotated[PositiveInt | None, OnResume.REFUSED] = Field(
        default=None,
        description="For a quick look: the validation split is limited to this number of batches, taken evenly from "
        "it. null: all.",
    )
    overfit_batches: Annotated[PositiveInt | None, OnResume.REFUSED] = Field(
        default=None,
        description="To see whether a model can learn at all: it is trained and validated on the examples of this "
        "number of batches, without augmentations. The loss should approach 0. null: off.",
    )
    scale_uint8: Annotated[Literal["auto"] | bool, OnResume.REFUSED] = Field(
        default="auto",
        description="Whether uint8 inputs are divided by 255. auto: if they have the shape of an image: [height, "
        "width], both at least 8, or [..., height, width, channels] with 1, 3 or 4 channels.",
    )
    device: Annotated[Device, OnResume.CHANGES_REST] = Field(
        default="auto", description="The device: auto (a GPU if there is one), cpu, gpu or gpu:N."
    )
    seed: Annotated[NonNegativeInt, OnResume.REFUSED] = Field(
        default=0, description="The seed of initial weights, order of examples, dropout and augmentation."
    )
    precision: Annotated[Literal["float32", "float64", "bfloat16", "float16", "auto"], OnResume.CHANGES_REST] = Field(
        default="float32",
        description="The dtype of computations. With bfloat16 and float16 (mixed precision) weights stay float32. "
        "auto: bfloat16 if the processor or GPU has instructions for it, else float32. TensorFlow multiplies float32 "
        "on newer NVIDIA GPUs with the precision of TF32.",
    )
    compile: Annotated[Literal["none", "xla", "auto"], OnResume.CHANGES_REST] = Field(
        default="none",
        description="Whether to compile the training step with XLA. auto: where XLA is known to be faster, which is "
        "nowhere yet.",
    )
    kernels: Annotated[Literal["native", "tensorflow", "auto"], OnResume.CHANGES_REST] = Field(
        default="auto",
        description="Whether supported layers and Adam use tfloop's C++ operations (native), which are compiled at "
        "installation, or those of TensorFlow. auto: native if available. Results differ in rounding, so a run keeps "
        "the choice.",
    )
    threads: Annotated[Literal["auto"] | PositiveInt, OnResume.CHANGES_REST] = Field(
        default="auto",
        description="The number of threads per operation. Results differ in rounding, so a run keeps the number. "
        "auto: the number of cores, which is also the largest number.",
    )
    clip_norm: Annotated[PositiveFloat | None, OnResume.CHANGES_REST] = Field(
        default=None,
        description="Gradient clipping: the largest global norm of all gradients; larger ones are scaled down "
        "(Keras: `global_clipnorm`; PyTorch: `clip_grad_norm_`). null: no clipping.",
    )
    ema_decay: Annotated[ExclusiveFraction | None, OnResume.CHANGES_REST] = Field(
        default=None,
        description="The decay of an exponential moving average (EMA) of the weights, which is used for evaluation. "
        "With a warm-up: step k, counted from 0, uses min(ema_decay, (1 + k) / (10 + k)), as TensorFlow's "
        "`tf.train.ExponentialMovingAverage` with `num_updates`. null: no EMA.",
    )
    steps_per_execution: Annotated[Literal["auto"] | PositiveInt, OnResume.FREE] = Field(
        default="auto",
        description="The number of training steps per call of the compiled inner loop. auto: about 5 calls per second.",
    )
    on_nonfinite: Annotated[Literal["stop", "skip"], OnResume.FREE] = Field(
        default="stop",
        description="What to do at a step that makes the loss or the training state NaN or infinite: stop before it, "
        "or skip it. Training also stops if more than half of the steps of an epoch are skipped.",
    )
    on_bad_example: Annotated[Literal["stop", "skip"], OnResume.FREE] = Field(
        default="stop",
        description="What to do at an invalid example, one that cannot be read or used: stop, or skip and count it.",
    )
    checkpoint: Annotated[CheckpointConfig, OnResume.FREE] = Field(
        default=CheckpointConfig(), description="When to save checkpoints, and which to keep."
    )
    early_stopping: Annotated[EarlyStoppingConfig | None, OnResume.FREE] = Field(
        default=None,
        description="When to stop because a validation metric has stopped improving; null: all epochs are trained.",
    )
    save_evaluation: Annotated[bool, OnResume.FREE] = Field(
        default=True,
        description="Whether the run keeps the targets and outputs of the test split, and up to 200 of its examples, "
        "for `tfloop report`.",
    )
    runs_dir: Annotated[str, StringConstraints(min_length=1), OnResume.FREE] = Field(
        default="runs",
        description="The parent folder of all run folders; a relative path counts from the current folder.",
    )
    tracking: Annotated[
        tuple[ComponentField, ...],
        Strict(False),
        Description("list of names, or of mappings with `name` and arguments"),
        OnResume.FREE,
    ] = Field(
        default=(),
        description="Experiment trackers that receive the run while it trains, such as `[tensorboard, mlflow]`. They "
        "are written by other processes: one that fails or hangs does not slow down the training.",
    )
    name: Annotated[RunName | None, OnResume.FREE] = Field(
        default=None,
        description="The name of the run folder; `-2`, `-3` ... is appended if it exists. null: the name of the "
        "config file, date, time and four hex digits.",
    )

    @property
    def accumulates_gradients(self) -> bool:
        """Whether a batch is divided into micro-batches."""
        micro, whole = self.micro_batch_size, self.batch_size
        return micro != "auto" and whole != "auto" and micro < whole
