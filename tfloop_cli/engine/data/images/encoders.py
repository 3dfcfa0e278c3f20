"""How the images of a run are encoded, and what was decided and found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tfloop_cli.errors import ExitCode, TfloopError

FORMAT = 1  # of `ImageEncoders.to_json`


@dataclass
class ImageEncoders:
    """What is needed to decode other images alike.

    Attributes:
        shape: height, width, channels.
        fit: see `Decoder`.
        background: see `Decoder`.
        max16: see `Decoder`.
        class_names: in the order of the labels.
        notes: what was decided for the user, and what was found in the folder, one sentence each.
    """

    shape: tuple[int, int, int]
    fit: str
    background: str
    max16: int
    class_names: tuple[str, ...]
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Returns all that is needed to decode other images alike, as an object of JSON."""
        values = asdict(self)
        return {"format": FORMAT, "dataset": "images"} | {name: values[name] for name in values if name != "notes"}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ImageEncoders":
        """Returns the encoders of a document that `to_json` wrote.

        Raises:
            TfloopError: the document is damaged (exit code 6).
        """
        try:
            if (document["format"], document["dataset"]) != (FORMAT, "images"):
                raise ValueError("they are of another version of tfloop or of another dataset")
            values = {name: document[name] for name in ("fit", "background", "max16")}
            height, width, channels = document["shape"]
            return cls((height, width, channels), class_names=tuple(document["class_names"]), **values)
        except (KeyError, TypeError, ValueError) as error:
            problem = f"the encoders of the run cannot be used: {error}"
            raise TfloopError(problem, code=ExitCode.CHECKPOINT) from error

    def overview(self) -> Sequence[Mapping[str, Any]]:
        """Returns nothing: images have no columns."""
        return ()
