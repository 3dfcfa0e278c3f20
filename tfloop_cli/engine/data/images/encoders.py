"""How the images of a run are encoded, and what was decided and found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, get_args

from tfloop_cli.engine.data.encoders import EncodersAsJson
from tfloop_cli.engine.data.images.decoding import Background, Fit


@dataclass(frozen=True)
class ImageEncoders(EncodersAsJson):
    """What is needed to decode other images alike.

    Attributes:
        shape: height, width, channels.
        fit: see `Decoder`.
        background: see `Decoder`.
        max16: see `Decoder`.
        class_names: in the order of the labels.
        notes: what was decided for the user, and what was found in the folder, one sentence each.
    """

    identity = ("images", 1)
    shape: tuple[int, int, int]
    fit: Fit
    background: Background
    max16: int
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        encoders = cls(**values)
        height, width, channels = encoders.shape
        if min(height, width) < 1 or channels not in (1, 3) or not 1 <= encoders.max16 <= 65535:
            raise ValueError("shape or range of the pixels")
        if encoders.fit not in get_args(Fit) or encoders.background not in get_args(Background):
            raise ValueError(f"`fit` is {encoders.fit!r} and `background` {encoders.background!r}")
        if not encoders.class_names or not all(isinstance(name, str) for name in encoders.class_names):
            raise ValueError("names of the classes")
        return encoders

    def overview(self) -> Sequence[Mapping[str, Any]]:
        """Returns nothing: images have no columns."""
        return ()
