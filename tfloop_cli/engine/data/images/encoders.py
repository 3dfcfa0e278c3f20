"""How the images of a run are encoded, and what was decided and found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


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
        return {"kind": "images"} | {name: values[name] for name in values if name != "notes"}

    def overview(self) -> Sequence[Mapping[str, Any]]:
        """Returns nothing: images have no columns."""
        return ()
