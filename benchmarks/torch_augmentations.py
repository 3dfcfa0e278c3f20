"""tfloop's random changes to images in PyTorch, on whole batches: float32 [batch, channels, height, width]."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

Change = Callable[[torch.Tensor], torch.Tensor]


def flip() -> Change:
    """Mirrors half of the images left to right."""

    def change(images: torch.Tensor) -> torch.Tensor:
        coin = torch.rand(len(images), 1, 1, 1)
        return torch.where(coin < 0.5, images.flip(3), images)

    return change


def affine(degrees: float, zoom: float, shift: float) -> Change:
    """Turns, zooms and moves each image around its middle, with bilinear interpolation; black comes in from outside."""

    def change(images: torch.Tensor) -> torch.Tensor:
        random = torch.rand(4, len(images)) * 2 - 1
        angle, scale = random[0] * math.radians(degrees), 1 + random[1] * zoom
        cosine, sine = angle.cos() * scale, angle.sin() * scale
        dx, dy = random[2] * shift * 2, random[3] * shift * 2  # an image is 2 wide
        rows = [cosine, -sine, sine * dy - cosine * dx, sine, cosine, -sine * dx - cosine * dy]
        places = torch.stack(rows, dim=1).reshape(-1, 2, 3)  # where each output pixel comes from
        grid = torch.nn.functional.affine_grid(places, list(images.shape), align_corners=False)
        return torch.nn.functional.grid_sample(images, grid, align_corners=False)

    return change


def build(wanted: Sequence[dict[str, Any]]) -> list[Change]:
    """The config's changes, in their order."""
    known = {"flip": flip, "affine": affine}
    return [known[one["name"]](**{key: one[key] for key in one if key != "name"}) for one in wanted]
