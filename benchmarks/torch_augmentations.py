"""The augmentations of tfloop in PyTorch, on whole batches: float32 [batch, channels, height, width]."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

Augmentation = Callable[[torch.Tensor], torch.Tensor]


def flip() -> Augmentation:
    """Random horizontal flip with probability 0.5."""

    def augment(images: torch.Tensor) -> torch.Tensor:
        uniform = torch.rand(len(images), 1, 1, 1)
        return torch.where(uniform < 0.5, images.flip(3), images)

    return augment


def affine(degrees: float, zoom: float, shift: float, fill: str) -> Augmentation:
    """Random rotation, zoom and translation around the center, with bilinear interpolation and zero fill."""
    assert fill == "zero"

    def augment(images: torch.Tensor) -> torch.Tensor:
        random = torch.rand(4, len(images)) * 2 - 1
        angle, scale = random[0] * math.radians(degrees), 1 + random[1] * zoom
        cosine, sine = angle.cos() * scale, angle.sin() * scale
        dx, dy = random[2] * shift * 2, random[3] * shift * 2  # the coordinates of an image are -1 to 1
        rows = [cosine, -sine, sine * dy - cosine * dx, sine, cosine, -sine * dx - cosine * dy]
        transforms = torch.stack(rows, dim=1).reshape(-1, 2, 3)  # maps output pixels to input pixels
        grid = torch.nn.functional.affine_grid(transforms, list(images.shape), align_corners=False)
        return torch.nn.functional.grid_sample(images, grid, align_corners=False)

    return augment


def build(items: Sequence[dict[str, Any]]) -> list[Augmentation]:
    """Returns the augmentations of a config, in order."""
    known = {"flip": flip, "affine": affine}
    return [known[one["name"]](**{key: one[key] for key in one if key != "name"}) for one in items]
