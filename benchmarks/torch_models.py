"""The models of the workloads in PyTorch.

They start from the exported weights. The exception is `resnet`, which only has the same initialization.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import exported_workload
import torch


class Block(torch.nn.Module):
    """A residual block, relu(x + F(x)). If the shape changes, the shortcut is a 1x1 convolution."""

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv_norm(inputs, filters, stride, 3), conv_norm(filters, filters, 1, 3)
        same = stride == 1 and inputs == filters
        self.shortcut = torch.nn.Identity() if same else conv_norm(inputs, filters, stride, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.shortcut(x) + self.second(torch.relu(self.first(x))))


def conv_norm(inputs: int, filters: int, stride: int, kernel_size: int) -> torch.nn.Sequential:
    """Returns a convolution and batch norm, with Keras' default epsilon; PyTorch's momentum is tfloop's too."""
    convolution = torch.nn.Conv2d(inputs, filters, kernel_size, stride, kernel_size // 2, bias=False)
    torch.nn.init.kaiming_normal_(convolution.weight)
    return torch.nn.Sequential(convolution, torch.nn.BatchNorm2d(filters, eps=1e-3))


class VisionTransformer(torch.nn.Module):
    """Patch embeddings, pre-norm transformer blocks, and mean pooling over all positions."""

    def __init__(self, arguments: dict[str, Any], shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        width, patch_size = arguments["width"], arguments["patch_size"]
        positions = (shape[0] // patch_size) * (shape[1] // patch_size)
        self.patches = torch.nn.Conv2d(shape[-1], width, patch_size, patch_size)
        self.position = torch.nn.Parameter(torch.zeros(positions, width))
        block = {
            "dim_feedforward": 4 * width,
            "dropout": arguments["dropout"],
            "activation": "gelu",
            "layer_norm_eps": 1e-6,
        }
        self.blocks = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(width, arguments["heads"], batch_first=True, norm_first=True, **block)
            for _ in range(arguments["depth"])
        )
        self.norm, self.last = torch.nn.LayerNorm(width, eps=1e-6), torch.nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position  # [batch, positions, width]
        for block in self.blocks:
            x = block(x)
        return self.last(self.norm(x).mean(1))

    def load_keras_weights(self, weights: list[torch.Tensor]) -> None:
        """Assigns the weights of the Keras model."""
        rest, width = iter(weights), self.position.shape[1]
        kernel, bias, position = next(rest), next(rest), next(rest)
        converted = [position, kernel.permute(3, 2, 0, 1), bias]
        for _ in self.blocks:
            first_norm = [next(rest), next(rest)]
            kernels, biases = zip(*[(next(rest), next(rest)) for _ in range(3)], strict=True)  # query, key, value
            converted.append(torch.cat([part.reshape(width, width).T for part in kernels]))
            converted.append(torch.cat([part.flatten() for part in biases]))
            converted += [next(rest).reshape(width, width).T, next(rest)]  # the output projection
            second_norm = [next(rest), next(rest)]
            converted += [*dense_pair(rest), *dense_pair(rest), *first_norm, *second_norm]
        load(self, [*converted, next(rest), next(rest), *dense_pair(rest)])


class TextClassifier(torch.nn.Module):
    """The mean of a text's word embeddings (word 0 is padding), and dense layers."""

    def __init__(self, arguments: dict[str, Any], words: int, classes: int) -> None:
        super().__init__()
        self.mean = torch.nn.EmbeddingBag(words, arguments["width"], mode="mean", padding_idx=0)
        widths, layers = [arguments["width"], *arguments["hidden"]], []
        for inputs, units in pairwise(widths):
            layers += [torch.nn.Dropout(arguments["dropout"]), torch.nn.Linear(inputs, units), torch.nn.ReLU()]
        self.dense = torch.nn.Sequential(
            *layers, torch.nn.Dropout(arguments["dropout"]), torch.nn.Linear(widths[-1], classes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.mean(x))


def build(work: exported_workload.ExportedWorkload) -> torch.nn.Module:
    """Returns the model of the config with the exported weights; `resnet` has its own."""
    arguments, shape = work.config["model"], work.arrays["train_inputs"].shape[1:]
    classes = int(work.arrays["train_targets"].max()) + 1
    weights = [torch.from_numpy(weight) for weight in work.weights]
    transposed = [weight.T if weight.ndim == 2 else weight for weight in weights]  # PyTorch's layout of dense kernels
    match arguments["name"]:
        case "resnet":
            return resnet(arguments, shape[-1], classes)
        case "vit":
            model = VisionTransformer(arguments, shape, classes)
            model.load_keras_weights(weights)
        case "text_classifier":
            model = TextClassifier(arguments, len(weights[0]), classes)
            load(model, [weights[0], *transposed[1:]])
        case "conv_net":
            model = conv_net(arguments, shape, classes, weights)
        case _:
            model = mlp([shape[0], *arguments["hidden"], classes])
            load(model, transposed)
    return model


def resnet(arguments: dict[str, Any], channels: int, classes: int) -> torch.nn.Module:
    """Returns a ResNet with three stages of blocks, for images of 32 x 32 pixels."""
    width = arguments["width"]
    layers = [conv_norm(channels, width, 1, 3), torch.nn.ReLU()]
    for stage in range(3):
        for block in range((arguments["depth"] - 2) // 6):
            filters = width * 2**stage
            downsamples = stage > 0 and block == 0
            layers.append(Block(filters // 2 if downsamples else filters, filters, 2 if downsamples else 1))
    pooled = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers, *pooled, torch.nn.Linear(width * 4, classes))


def conv_net(
    arguments: dict[str, Any], shape: tuple[int, ...], classes: int, weights: list[torch.Tensor]
) -> torch.nn.Module:
    """Returns convolutions, with batch norm and pooling if the config has them, and dense layers."""
    padding, pool_every = arguments["kernel_size"] // 2, arguments["pool_every"]
    inputs, side, layers, rest, converted = shape[-1], shape[0], [], iter(weights), []
    for number, filters in enumerate(arguments["filters"], start=1):
        convolution = torch.nn.Conv2d(
            inputs,
            filters,
            arguments["kernel_size"],
            padding=padding if pool_every else 0,
            bias=not arguments["batch_norm"],
        )
        converted += [next(rest).permute(3, 2, 0, 1), next(rest)]  # filters; bias, or scale of batch norm
        layers.append(convolution)
        if arguments["batch_norm"]:
            layers.append(torch.nn.BatchNorm2d(filters, eps=1e-3))
            converted.append(next(rest))
            next(rest), next(rest)  # moving statistics, whose initial values are the same in PyTorch
        layers.append(torch.nn.ReLU())
        side -= 0 if pool_every else arguments["kernel_size"] - 1
        if pool_every and number % pool_every == 0:
            layers.append(torch.nn.MaxPool2d(2))
            side //= 2
        inputs = filters
    layers.append(torch.nn.Flatten())
    widths = [side * side * inputs, *arguments["hidden"], classes]
    for features, units in pairwise(widths):
        layers += [torch.nn.Dropout(arguments["dropout"]), torch.nn.Linear(features, units), torch.nn.ReLU()]
        converted += dense_pair(rest)
    model = torch.nn.Sequential(*layers[:-1])
    first = -2 * (len(widths) - 1)  # Keras flattens height, width, channels; PyTorch channels, height, width
    converted[first] = converted[first].reshape(-1, side, side, inputs).permute(0, 3, 1, 2).reshape(-1, widths[0])
    load(model, converted)
    return model


def mlp(widths: list[int]) -> torch.nn.Module:
    """Returns dense layers with relu between them."""
    layers = [layer for pair in pairwise(widths) for layer in (torch.nn.Linear(*pair), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers[:-1])


def dense_pair(weights: Iterator[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the kernel of the next dense layer, transposed, and its bias."""
    return next(weights).T, next(weights)


def load(model: torch.nn.Module, weights: list[torch.Tensor]) -> None:
    """Assigns weights to the parameters of a model, in order."""
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.copy_(weight)
