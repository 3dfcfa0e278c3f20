"""A PyTorch loop on an exported workload, for comparison. Prints JSON documents; needs torch and numpy only.

    python benchmarks/export.py mnist.yaml --arrays mnist.npz
    python benchmarks/torch_loop.py mnist.npz --epochs 3 [--compiled] [--channels-last]

What its documentation advises for a CPU: data in memory as one tensor, an index a batch, `set_to_none`, a fused
optimizer, and `torch.compile` or the channels-last layout where they are asked for. Models: `conv_net` of one
convolution, `mlp`, `resnet`; the first two begin with the exported weights, the last one with He's initialisation, as
Keras does.
"""

from collections.abc import Callable

import plain
import torch

Step = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


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


def build(work: plain.Exported) -> torch.nn.Module:
    """The config's model, with the exported weights where it is a plain sequence of layers."""
    model, shape = work.config["model"], work.arrays["train_inputs"].shape[1:]
    classes = int(work.arrays["train_targets"].max()) + 1
    if model["name"] == "resnet":
        width = model["width"]
        layers = [conv_norm(shape[-1], width, 1, 3), torch.nn.ReLU()]
        for stage in range(3):
            for block in range((model["depth"] - 2) // 6):
                now = width * 2**stage
                first = stage > 0 and block == 0
                layers.append(Block(now // 2 if first else now, now, 2 if first else 1))
        pooled = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
        return torch.nn.Sequential(*layers, *pooled, torch.nn.Linear(width * 4, classes))
    if model["name"] == "conv_net":
        (filters,), side = model["filters"], model["kernel_size"]
        left = (shape[0] - side + 1, shape[1] - side + 1)
        layers = [torch.nn.Conv2d(shape[-1], filters, side), torch.nn.ReLU(), torch.nn.Flatten()]
        net = torch.nn.Sequential(*layers, torch.nn.Linear(left[0] * left[1] * filters, classes))
        kernel, bias, dense, dense_bias = map(torch.from_numpy, work.weights)
        # Keras flattens height, width, channels; PyTorch channels, height, width.
        rows = dense.reshape(*left, filters, classes).permute(3, 2, 0, 1).reshape(classes, -1)
        load(net, [kernel.permute(3, 2, 0, 1), bias, rows, dense_bias])
        return net
    widths = [*model["hidden"], classes]
    layers = []
    for before, width in zip([shape[0], *widths], widths, strict=False):
        layers += [torch.nn.Linear(before, width), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    load(net, [torch.from_numpy(weight.T if weight.ndim == 2 else weight) for weight in work.weights])
    return net


def load(net: torch.nn.Module, weights: list[torch.Tensor]) -> None:
    """Puts weights in place."""
    with torch.no_grad():
        for parameter, weight in zip(net.parameters(), weights, strict=True):
            parameter.copy_(weight)


def optimizer_of(work: plain.Exported, net: torch.nn.Module, epochs: int) -> tuple[torch.optim.Optimizer, Callable]:
    """The config's optimizer, and what moves its learning rate after each step."""
    wanted = work.config["optimizer"]
    arguments = {"lr": wanted["learning_rate"], "eps": wanted["epsilon"], "fused": True}
    if wanted["name"] == "adamw":
        optimizer = torch.optim.AdamW(net.parameters(), weight_decay=wanted["weight_decay"], **arguments)
    else:
        optimizer = torch.optim.Adam(net.parameters(), **arguments)
    if work.config["schedule"]["name"] != "cosine":
        return optimizer, lambda: None
    steps = epochs * -(-len(work.arrays["train_inputs"]) // work.config["batch_size"])
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps).step


def inputs_of(array: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """A batch for the model: pixels as float32 in [0, 1], [batch, channels, height, width]; rows as they are."""
    values = array.float() / 255 if array.dtype == torch.uint8 else array
    return values.contiguous(memory_format=layout) if values.ndim == 4 else values


def tensors(work: plain.Exported, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A split: images [examples, channels, height, width] or rows, and int64 classes."""
    inputs = torch.from_numpy(work.arrays[f"{split}_inputs"])
    inputs = inputs.permute(0, 3, 1, 2).contiguous() if inputs.ndim == 4 else inputs
    return inputs, torch.from_numpy(work.arrays[f"{split}_targets"]).long()


def main() -> None:
    """Trains and tests."""
    options = plain.options(__doc__, compiled="torch.compile", channels_last="another order in memory")
    torch.manual_seed(options.seed)
    work, layout = plain.read(options.data), torch.contiguous_format
    if options.channels_last:
        layout = torch.channels_last
    inputs, targets = tensors(work, "train")
    model = build(work).to(memory_format=layout)
    optimizer, advance = optimizer_of(work, model, options.epochs)

    def measure(batch: torch.Tensor, answers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = model(batch)
        return torch.nn.functional.cross_entropy(logits, answers), (logits.argmax(1) == answers).sum()

    # Not the optimizer: it would be compiled anew for each learning rate.
    run: Step = torch.compile(measure, dynamic=False) if options.compiled else measure
    epochs = plain.Epochs(len(inputs))
    for _ in range(options.epochs):
        total, right = torch.zeros(()), torch.zeros((), dtype=torch.long)
        for index in torch.randperm(len(inputs)).split(work.config["batch_size"]):
            optimizer.zero_grad(set_to_none=True)
            loss, hits = run(inputs_of(inputs[index], layout), targets[index])
            loss.backward()
            optimizer.step()
            advance()
            total, right = total + loss.detach() * len(index), right + hits
        right.item()
        epochs.done()
    plain.tell("evaluation", split="test", metrics=test(model, *tensors(work, "test"), layout))


@torch.no_grad()
def test(
    model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor, layout: torch.memory_format
) -> dict[str, float]:
    """Loss and accuracy."""
    model.eval()
    logits = torch.cat([model(inputs_of(part, layout)) for part in inputs.split(1024)])
    accuracy = (logits.argmax(1) == targets).float().mean().item()
    return {"loss": torch.nn.functional.cross_entropy(logits, targets).item(), "accuracy": accuracy}


if __name__ == "__main__":
    main()
