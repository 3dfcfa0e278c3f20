"""Describes the inputs of a dataset: the columns of a table, and the encoders that are part of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Column:
    """Adjacent features of the inputs that come from one column of a table.

    Attributes:
        name: of the column in the file.
        kind: "number" (standardized), "flags" (each 0 or 1: categories, words, missing) or "id" (one whole number).
        start, stop: the features are `inputs[:, start:stop]`.
        ids: of kind "id", the number of ids: the feature is from 0 to `ids` - 1; else 0.
    """

    name: str
    kind: str
    start: int
    stop: int
    ids: int = 0


class Encoders(Protocol):
    """How the examples of a dataset are encoded. Everything is data, so that a run can keep it."""

    def to_json(self) -> dict[str, Any]:
        """Returns all that is needed to encode other examples, as an object of JSON."""
        ...

    def overview(self) -> Sequence[Mapping[str, Any]]:
        """Returns what is shown of each column: `name`, `type`, `missing`, `distinct`, `use`."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What was decided for the user, one sentence each."""
        ...
