"""What is needed to read other arrays as those of the training split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfloop_cli.engine.data.encoders import EncodersAsJson
from tfloop_cli.engine.data.spec import TargetSpec


@dataclass(frozen=True)
class ArrayEncoders(EncodersAsJson):
    """How arrays are read.

    Attributes:
        input_shape, input_dtype: of one example.
        target_shape, class_names, one_hot: see `TargetSpec`.
        numbered: whether targets are the values that `class_names` shows, which become numbers from 0.
        notes: what was decided for the user.
    """

    identity = ("arrays", 1)
    input_shape: tuple[int, ...]
    input_dtype: str
    target_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    one_hot: bool
    numbered: bool
    notes: tuple[str, ...] = ()

    @property
    def target(self) -> TargetSpec:
        """The target of an example."""
        return TargetSpec(self.target_shape, self.class_names, self.one_hot)

    def overview(self) -> Sequence[Mapping[str, Any]]:
        """Returns nothing: arrays have no named columns."""
        return ()
