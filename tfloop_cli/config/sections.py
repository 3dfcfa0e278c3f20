"""The sections of a config that have keys of their own: `checkpoint` and `early_stopping`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tfloop_cli.registry.argument_types import NonNegativeFloat, OnResume, PositiveFloat, PositiveInt

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
_MODE = (
    "Whether lower (`min`) or higher (`max`) values are better. null: for the task's default metric, the task decides; "
    "for another one its name: `max` if it is `r2` or contains `accuracy`, `auc`, `f1`, `precision` or `recall`, `min` "
    "if it is `rmse`, `mae` or `mse` or contains `loss` or `error`; with any other name, null is an error."
)


class Best(BaseModel):
    """How to choose the best checkpoint."""

    model_config = STRICT

    metric: str | None = Field(
        default=None,
        description="The validation metric to compare; null: the task's default metric. If epochs are equal, the one "
        "with the lower validation loss is the best, then the later one.",
    )
    mode: Literal["min", "max"] | None = Field(default=None, description=_MODE)


class CheckpointConfig(BaseModel):
    """When to save checkpoints, and which to keep."""

    model_config = STRICT

    every_epochs: PositiveInt = Field(
        default=1, description="Save after every N epochs. The last epoch is always saved."
    )
    every_steps: PositiveInt | None = Field(
        default=None, description="Also save after every N training steps; null: only after epochs."
    )
    every_seconds: PositiveFloat | None = Field(
        default=None, description="Also save N seconds after the last save; null: only after epochs."
    )
    keep: PositiveInt = Field(default=1, description="The number of newest checkpoints to keep, besides the best one.")
    best: Annotated[Best | None, OnResume.CHANGES_REST] = Field(
        default=Best(), description="How to choose the best checkpoint; null: no best checkpoint is kept."
    )


class EarlyStoppingConfig(BaseModel):
    """When to stop training before all epochs are completed."""

    model_config = STRICT

    metric: Annotated[str | None, OnResume.CHANGES_REST] = Field(
        default=None,
        description="The validation metric to monitor; null: the task's default metric, whatever "
        "`checkpoint.best.metric` is.",
    )
    mode: Annotated[Literal["min", "max"] | None, OnResume.CHANGES_REST] = Field(default=None, description=_MODE)
    patience_epochs: PositiveInt = Field(
        default=5, description="The number of epochs without improvement after which training stops."
    )
    min_delta: NonNegativeFloat = Field(
        default=0.0,
        description="An improvement of the metric must be larger than this (absolute). With 0, a lower validation loss "
        "at an equal metric is an improvement too.",
    )
