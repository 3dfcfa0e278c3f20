"""The schema of a config: every key, its type, its bounds, its unit and its default. It knows no files and no names.

`configfile` makes a Config out of YAML and fills in the components' own defaults; the description of a key is what
`tfloop config schema` shows to editors and what the documentation prints.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    StringConstraints,
    WithJsonSchema,
)

from tfloop_cli.fields import NonNegativeFloat, NonNegativeInt, OpenFraction, PositiveFloat, PositiveInt, Words
from tfloop_cli.registry import Component

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


def _component(value: Any) -> Any:
    """A string is short for {name: ...}, in Python as in YAML."""
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
    Words("name, or a mapping with `name` and its arguments"),
]
Device = Annotated[
    str,
    StringConstraints(pattern=r"^(auto|cpu|gpu|gpu:[0-9]{1,4})$"),
    Words("`auto`, `cpu`, `gpu` or `gpu:N` (`gpu:0`)"),
]
RunName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$"),
    Words("null or a name of at most 100 letters, digits, `_`, `-` and `.`, which does not begin with `-` or `.`"),
]


class Best(BaseModel):
    """Which checkpoint counts as the best one."""

    model_config = STRICT

    metric: str | None = Field(
        default=None, description="The validation metric to judge by; null: the task's own first choice."
    )
    mode: Literal["min", "max"] | None = Field(
        default=None,
        description="Whether less (`min`) or more (`max`) of it is better; null: what the task says of that metric.",
    )


class CheckpointConfig(BaseModel):
    """When to save, and what to keep."""

    model_config = STRICT

    every_epochs: PositiveInt = Field(
        default=1, description="Save after every so many epochs; the last one is always saved."
    )
    every_steps: PositiveInt | None = Field(
        default=None, description="Save after every so many training steps too; null: do not."
    )
    every_seconds: PositiveFloat | None = Field(
        default=None, description="Save too when so many seconds have passed since the last save; null: do not."
    )
    keep: PositiveInt = Field(
        default=1, description="How many of the newest checkpoints to keep, besides the best one."
    )
    best: Best | None = Field(default=Best(), description="How to choose the checkpoint `best`; null keeps none.")


class EarlyStopping(BaseModel):
    """When to end a run before its epochs are done."""

    model_config = STRICT

    metric: str | None = Field(
        default=None, description="The validation metric to watch; null: the one that says which epoch is best."
    )
    mode: Literal["min", "max"] | None = Field(
        default=None,
        description="Whether less (`min`) or more (`max`) of it is better; null: what the task says of that metric.",
    )
    patience_epochs: PositiveInt = Field(
        default=5, description="Epochs in a row without an improvement before the run ends."
    )
    min_delta: NonNegativeFloat = Field(
        default=0.0, description="The least change of the metric that counts as an improvement."
    )


class Config(BaseModel):
    """All that decides a run. Frozen; unknown keys are errors."""

    model_config = STRICT

    dataset: ComponentField = Field(description="The data: a dataset of tfloop's own, or any TFDS name.")
    model: ComponentField = Field(description="The model to train.")
    task: ComponentField = Field(
        default=Component("classification"), description="What one batch means: its loss and metrics."
    )
    epochs: PositiveInt = Field(default=5, description="Passes over the training examples.")
    batch_size: PositiveInt = Field(
        default=128, description="Examples in one training step, over all devices together."
    )
    micro_batch_size: Literal["auto"] | PositiveInt = Field(
        default="auto",
        description="Examples that go through the model at once, for batches that outgrow the memory: a step adds up "
        "the gradients of its parts. auto: the whole batch.",
    )
    optimizer: ComponentField = Field(default=Component("adam"), description="How gradients change the weights.")
    schedule: ComponentField = Field(
        default=Component("constant"),
        description="A factor on the optimizer's learning rate that changes with the step.",
    )
    warmup_steps: NonNegativeInt = Field(
        default=0,
        description="Steps over which the learning rate rises from 0 to its full value, before the schedule begins.",
    )
    augment: Annotated[tuple[ComponentField, ...], Strict(False)] = Field(
        default=(), description="Random changes to training examples, applied in this order."
    )
    validation: Annotated[
        Literal["auto"] | NonNegativeInt | OpenFraction,
        Words("`auto`, 0 (none), a number of examples, or a share strictly between 0 and 1"),
    ] = Field(
        default="auto",
        description="What is held out of training: a number of examples, a share of them strictly between 0 and 1, "
        "0 for none, or auto: the dataset's own validation split, else a tenth of its training examples.",
    )
    drop_remainder: bool = Field(
        default=False, description="Whether to leave out an epoch's last batch where it is not full."
    )
    device: Device = Field(
        default="auto", description="Where to train: auto (a GPU if there is one), cpu, gpu or gpu:N."
    )
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = Field(
        default=0, description="Decides the first weights, the order of examples, dropout and augmentation."
    )
    precision: Literal["float32", "float64", "bfloat16", "float16", "auto"] = Field(
        default="float32",
        description="The type of numbers to compute with; with bfloat16 and float16 the weights stay float32. auto: "
        "bfloat16 where the processor or GPU multiplies it by itself, else float32.",
    )
    compile: Literal["none", "xla", "auto"] = Field(
        default="none", description="Whether to compile the step with XLA; auto does so where it is known to be faster."
    )
    kernels: Literal["native", "tensorflow", "auto"] = Field(
        default="auto",
        description="Who computes the layers that tfloop has kernels of its own for: these, compiled when it was "
        "installed (native), or TensorFlow; auto: native where they are there. The bits of a result depend on it, so a "
        "run freezes it.",
    )
    threads: Literal["auto"] | PositiveInt = Field(
        default="auto",
        description="Threads within one operation. The bits of a result depend on it, so a run freezes it.",
    )
    clip_norm: PositiveFloat | None = Field(
        default=None,
        description="The largest global norm of all gradients together; above it they are scaled down. null: no limit.",
    )
    ema_decay: OpenFraction | None = Field(
        default=None,
        description="Evaluate a running average of the weights that keeps this share of itself each step. null: none.",
    )
    steps_per_call: Literal["auto"] | PositiveInt = Field(
        default="auto",
        description="Training steps in one call of the compiled inner loop; auto: about 5 calls a second.",
    )
    on_nonfinite: Literal["stop", "skip"] = Field(
        default="stop",
        description="At a step that leaves NaN or infinity in loss or state: stop before it, or leave it out.",
    )
    on_bad_example: Literal["stop", "skip"] = Field(
        default="stop",
        description="At an example that cannot be read or used: stop, or leave it out of its split and count it.",
    )
    checkpoint: CheckpointConfig = Field(
        default=CheckpointConfig(), description="When to save, and which checkpoints to keep."
    )
    early_stopping: EarlyStopping | None = Field(
        default=None,
        description="Ends the run when a validation metric stops getting better; null: all epochs are trained.",
    )
    runs_dir: Annotated[str, StringConstraints(min_length=1)] = Field(
        default="runs", description="The folder in which every run gets a folder of its own."
    )
    name: RunName | None = Field(
        default=None, description="How the run folder's name begins; null: the config file's name."
    )

    @property
    def in_parts(self) -> bool:
        """Whether a batch goes through the model in parts."""
        return self.micro_batch_size != "auto" and self.micro_batch_size < self.batch_size
