"""Describes the inputs of a dataset: the columns of a table, and the encoders that are part of a run."""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from tfloop_cli.errors import ExitCode, TfloopError

Made = TypeVar("Made")


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


def header(dataset: str, version: int) -> dict[str, Any]:
    """Returns the keys that identify the encoders of a dataset in JSON."""
    return {"format": version, "dataset": dataset}


def read_encoders(
    document: Mapping[str, Any], dataset: str, version: int, make: Callable[[dict[str, Any]], Made]
) -> Made:
    """Returns the encoders that a document of JSON describes.

    Args:
        document: as `Encoders.to_json` returns it, or read from a file.
        dataset, version: those that were passed to `header`.
        make: receives the document without its header; lists are tuples in it, as they were before.

    Raises:
        TfloopError: the document is not of this dataset and version, or damaged (exit code 6).
    """
    try:
        values = _with_tuples(json.loads(json.dumps(document)))
        if {key: values.pop(key) for key in header(dataset, version)} != header(dataset, version):
            raise ValueError("they are of another version of tfloop or of another dataset")
        return make(values)
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, zlib.error) as error:
        raise TfloopError(f"the encoders of the run cannot be used: {error}", code=ExitCode.CHECKPOINT) from error


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(one) for key, one in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
