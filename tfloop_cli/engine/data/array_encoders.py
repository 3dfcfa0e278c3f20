"""What is needed to read other arrays as those of the training split."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from tfloop_cli.engine.data.encoders import header, read_encoders
from tfloop_cli.engine.data.spec import TargetSpec

IDENTITY = "arrays", 1  # the dataset, and the version of `ArrayEncoders.to_json`


@dataclass(frozen=True)
class ArrayEncoders:
    """How arrays are read.

    Attributes:
        input_shape, input_dtype: of one example.
        target_shape, class_names, one_hot: see `TargetSpec`.
        numbered: whether targets are the values that `class_names` shows, which become numbers from 0.
        notes: what was decided for the user.
    """

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

    def to_json(self) -> dict[str, Any]:
        """Returns all that is needed to read other arrays alike, as an object of JSON."""
        return header(*IDENTITY) | asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Returns the argument of `to_json`.

        Raises:
            TfloopError: it is no such object, or of another version of tfloop (exit code 6).
        """
        return read_encoders(document, *IDENTITY, lambda values: cls(**values))

    def overview(self) -> Sequence[Mapping[str, Any]]:
        """Returns nothing: arrays have no named columns."""
        return ()
