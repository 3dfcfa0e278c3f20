"""The workloads' models in PyTorch.

All begin with the exported weights but `resnet`, which has the same initialisation.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import exported_workload
import torch


class Block(torch.nn.Module):
    """relu(x + F(x)); where the shape changes, x goes through a 1x1 convolution."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv_norm(before, width, stride, 3), conv_norm(width, width, 1, 3)
        same = stride == 1 and before == width
        self.past = torch.nn.Identity() if same else conv_norm(before, width, stride, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.past(x) + self.second(torch.relu(self.first(x))))


def conv_norm(before: int, width: int, stride: int, side: int) -> torch.nn.Sequential:
    """A convolution and batch norm, with the numbers that Keras has by default."""
    convolution = torch.nn.Conv2d(before, width, side, stride, side // 2, bias=False)
    torch.nn.init.kaiming_normal_(convolution.weight)
    return torch.nn.Sequential(convolution, torch.nn.BatchNorm2d(width, eps=1e-3, momentum=0.01))


class VisionTransformer(torch.nn.Module):
    """Patches, encoder blocks that normalise first, the mean over all places."""

    def __init__(self, wanted: dict[str, Any], shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        width, patch = wanted["width"], wanted["patch_size"]
        places = (shape[0] // patch) * (shape[1] // patch)
        self.patches = torch.nn.Conv2d(shape[-1], width, patch, patch)
        self.position = torch.nn.Parameter(torch.zeros(places, width))
        block = {
            "dim_feedforward": 4 * width,
            "dropout": wanted["dropout"],
            "activation": "gelu",
            "layer_norm_eps": 1e-6,
        }
        self.blocks = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(width, wanted["heads"], batch_first=True, norm_first=True, **block)
            for _ in range(wanted["depth"])
        )
        self.norm, self.last = torch.nn.LayerNorm(width, eps=1e-6), torch.nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position  # [batch, places, width]
        for block in self.blocks:
            x = block(x)
        return self.last(self.norm(x).mean(1))

    def take(self, weights: list[torch.Tensor]) -> None:
        """Puts Keras' weights in place."""
        rest, width = iter(weights), self.position.shape[1]
        kernel, bias, position = next(rest), next(rest), next(rest)
        taken = [position, kernel.permute(3, 2, 0, 1), bias]
        for _ in self.blocks:
            norm = [next(rest), next(rest)]
            kernels, biases = zip(*[(next(rest), next(rest)) for _ in range(3)], strict=True)  # queries, keys, values
            taken.append(torch.cat([part.reshape(width, width).T for part in kernels]))
            taken.append(torch.cat([part.flatten() for part in biases]))
            taken += [next(rest).reshape(width, width).T, next(rest)]  # what joins the heads
            later = [next(rest), next(rest)]
            taken += [*dense_pair(rest), *dense_pair(rest), *norm, *later]
        load(self, [*taken, next(rest), next(rest), *dense_pair(rest)])


class TextClassifier(torch.nn.Module):
    """The mean of a text's words, 0 being none, and dense layers."""

    def __init__(self, wanted: dict[str, Any], words: int, classes: int) -> None:
        super().__init__()
        self.mean = torch.nn.EmbeddingBag(words, wanted["width"], mode="mean", padding_idx=0)
        widths, layers = [wanted["width"], *wanted["hidden"]], []
        for before, width in pairwise(widths):
            layers += [torch.nn.Dropout(wanted["dropout"]), torch.nn.Linear(before, width), torch.nn.ReLU()]
        self.dense = torch.nn.Sequential(
            *layers, torch.nn.Dropout(wanted["dropout"]), torch.nn.Linear(widths[-1], classes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.mean(x))


def build(work: exported_workload.Exported) -> torch.nn.Module:
    """The config's model, with the exported weights; a `resnet` has its own."""
    wanted, shape = work.config["model"], work.arrays["train_inputs"].shape[1:]
    classes = int(work.arrays["train_targets"].max()) + 1
    weights = [torch.from_numpy(weight) for weight in work.weights]
    turned = [weight.T if weight.ndim == 2 else weight for weight in weights]  # dense kernels as PyTorch has them
    match wanted["name"]:
        case "resnet":
            return resnet(wanted, shape[-1], classes)
        case "vit":
            net = VisionTransformer(wanted, shape, classes)
            net.take(weights)
        case "text_classifier":
            net = TextClassifier(wanted, len(weights[0]), classes)
            load(net, [weights[0], *turned[1:]])
        case "conv_net":
            net = conv_net(wanted, shape, classes, weights)
        case _:
            net = mlp([shape[0], *wanted["hidden"], classes])
            load(net, turned)
    return net


def resnet(wanted: dict[str, Any], channels: int, classes: int) -> torch.nn.Module:
    """Three stages of blocks, for images of 32 x 32 pixels."""
    width = wanted["width"]
    layers = [conv_norm(channels, width, 1, 3), torch.nn.ReLU()]
    for stage in range(3):
        for block in range((wanted["depth"] - 2) // 6):
            now = width * 2**stage
            first = stage > 0 and block == 0
            layers.append(Block(now // 2 if first else now, now, 2 if first else 1))
    pooled = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers, *pooled, torch.nn.Linear(width * 4, classes))


def conv_net(
    wanted: dict[str, Any], shape: tuple[int, ...], classes: int, weights: list[torch.Tensor]
) -> torch.nn.Module:
    """Convolutions, with batch norm and pooling where they are wanted, and dense layers."""
    kept, every = wanted["kernel_size"] // 2, wanted["pool_every"]
    before, side, layers, rest, taken = shape[-1], shape[0], [], iter(weights), []
    for number, width in enumerate(wanted["filters"], start=1):
        convolution = torch.nn.Conv2d(
            before, width, wanted["kernel_size"], padding=kept if every else 0, bias=not wanted["batch_norm"]
        )
        taken += [next(rest).permute(3, 2, 0, 1), next(rest)]  # filters; bias, or batch norm's scale
        layers.append(convolution)
        if wanted["batch_norm"]:
            layers.append(torch.nn.BatchNorm2d(width, eps=1e-3, momentum=0.01))
            taken.append(next(rest))
            next(rest), next(rest)  # its averages, which begin alike everywhere
        layers.append(torch.nn.ReLU())
        side -= 0 if every else wanted["kernel_size"] - 1
        if every and number % every == 0:
            layers.append(torch.nn.MaxPool2d(2))
            side //= 2
        before = width
    layers.append(torch.nn.Flatten())
    widths = [side * side * before, *wanted["hidden"], classes]
    for rows, columns in pairwise(widths):
        layers += [torch.nn.Dropout(wanted["dropout"]), torch.nn.Linear(rows, columns), torch.nn.ReLU()]
        taken += dense_pair(rest)
    net = torch.nn.Sequential(*layers[:-1])
    first = -2 * (len(widths) - 1)  # Keras flattens height, width, channels; PyTorch channels, height, width
    taken[first] = taken[first].reshape(-1, side, side, before).permute(0, 3, 1, 2).reshape(-1, widths[0])
    load(net, taken)
    return net


def mlp(widths: list[int]) -> torch.nn.Module:
    """Dense layers with relu between them."""
    layers = [layer for pair in pairwise(widths) for layer in (torch.nn.Linear(*pair), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers[:-1])


def dense_pair(weights: Iterator[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The next dense layer's kernel, turned, and bias."""
    return next(weights).T, next(weights)


def load(net: torch.nn.Module, weights: list[torch.Tensor]) -> None:
    """Puts weights in place."""
    with torch.no_grad():
        for parameter, weight in zip(net.parameters(), weights, strict=True):
            parameter.copy_(weight)
