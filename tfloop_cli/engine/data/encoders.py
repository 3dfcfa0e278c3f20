"""Describes the inputs of a dataset: the columns of a table, and the encoders that are part of a run."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, Self

from tfloop_cli.errors import ExitCode, TfloopError


@dataclass(frozen=True)
class Column:
    """Adjacent features of the inputs that come from one column of a table.

    Attributes:
        name: of the column in the file.
        kind: "number" (standardized), "flags" (each 0 or 1: categories, words, missing) or "id" (one whole number).
        start, stop: the features are `inputs[:, start:stop]`.
        ids: of kind "id", the number of ids: the feature is from 0 to `ids` - 1; else 0.
        edges: of a number that is a code, such as that of a person, boundaries between its values, in ascending order
            and scaled as the feature; else empty.
    """

    name: str
    kind: str
    start: int
    stop: int
    ids: int = 0
    edges: tuple[float, ...] = ()


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


@dataclass(frozen=True)
class EncodersAsJson:
    """Base of encoders that are a dataclass of plain data.

    Attributes:
        identity: the dataset, and the version of `to_json`.
    """

    identity: ClassVar[tuple[str, int]]

    def to_json(self) -> dict[str, Any]:
        """Returns the encoders as an object of JSON."""
        return self._header() | asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Returns the encoders that a document describes.

        Args:
            document: as `to_json` returns it, or read from a file.

        Raises:
            TfloopError: it is not of this dataset and version, or damaged (exit code 6).
        """
        try:
            values = _with_tuples(json.loads(json.dumps(document)))
            if {key: values.pop(key) for key in cls._header()} != cls._header():
                raise ValueError("they are of another version of tfloop or of another dataset")
            return cls._of(values)
        except (KeyError, TypeError, ValueError, AttributeError, AssertionError, zlib.error) as error:
            raise TfloopError(f"the encoders of the run cannot be used: {error}", code=ExitCode.CHECKPOINT) from error

    @classmethod
    def _header(cls) -> dict[str, Any]:
        dataset, version = cls.identity
        return {"format": version, "dataset": dataset}

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        """Returns the encoders of the values in JSON; lists are tuples in them, as they were before."""
        return cls(**values)


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(one) for key, one in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
