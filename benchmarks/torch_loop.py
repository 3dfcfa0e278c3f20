"""A PyTorch loop on an exported workload, for comparison. Prints JSON documents; needs torch and numpy only.

    python benchmarks/export_workload.py mnist.yaml --arrays mnist.npz
    python benchmarks/torch_loop.py mnist.npz --epochs 3 [--compiled] [--channels-last] [--bfloat16]

What its documentation advises for a CPU: data in memory as one tensor, an index and one change of images a batch,
`set_to_none`, a fused optimizer, and `torch.compile`, the channels-last layout or autocast where they are asked for.
The models stand in `torch_models.py`, what changes images in `torch_augmentations.py`.
"""

import math
from collections.abc import Callable

import exported_workload
import torch
import torch_augmentations
from torch_models import build

Step = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def optimizer_of(
    work: exported_workload.Exported, net: torch.nn.Module, epochs: int
) -> tuple[torch.optim.Optimizer, Callable]:
    """The config's optimizer, and what moves its learning rate after each step."""
    wanted, config = work.config["optimizer"], work.config
    arguments = {"lr": wanted["learning_rate"], "eps": wanted["epsilon"], "fused": True}
    if wanted["name"] == "adamw":
        optimizer = torch.optim.AdamW(net.parameters(), weight_decay=wanted["weight_decay"], **arguments)
    else:
        optimizer = torch.optim.Adam(net.parameters(), **arguments)
    if config["schedule"]["name"] != "cosine":
        return optimizer, lambda: None
    warm_up = config["warmup_steps"]
    steps = epochs * -(-len(work.arrays["train_inputs"]) // config["batch_size"]) - warm_up

    def factor(step: int) -> float:
        done = min(max(step - warm_up, 0) / steps, 1.0)
        return min((step + 1) / (warm_up + 1), 1.0) * 0.5 * (1 + math.cos(math.pi * done))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor).step


def inputs_of(array: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """A batch for the model: pixels as float32 in [0, 1], [batch, channels, height, width]; rows as they are.

    Texts become as long as the longest of them, [batch, words].
    """
    if array.dtype == torch.int32:
        return array[:, : int((array > 0).sum(1).max())]
    values = array.float() / 255 if array.dtype == torch.uint8 else array
    return values.contiguous(memory_format=layout) if values.ndim == 4 else values


def tensors(work: exported_workload.Exported, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A split: images [examples, channels, height, width], rows or texts, and int64 classes."""
    inputs = torch.from_numpy(work.arrays[f"{split}_inputs"])
    inputs = inputs.permute(0, 3, 1, 2).contiguous() if inputs.ndim == 4 else inputs
    return inputs, torch.from_numpy(work.arrays[f"{split}_targets"]).long()


def main() -> None:
    """Trains and tests."""
    options = exported_workload.options(
        __doc__, compiled="torch.compile", channels_last="another order in memory", bfloat16="autocast"
    )
    torch.manual_seed(options.seed)
    work, layout = exported_workload.read(options.data), torch.contiguous_format
    if options.channels_last:
        layout = torch.channels_last
    inputs, targets = tensors(work, "train")
    model = build(work).to(memory_format=layout)
    optimizer, advance = optimizer_of(work, model, options.epochs)
    changes = torch_augmentations.build(work.config["augment"])

    def measure(batch: torch.Tensor, answers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
            logits = model(batch)
        return torch.nn.functional.cross_entropy(logits.float(), answers), (logits.argmax(1) == answers).sum()

    # Not the optimizer: it would be compiled anew for each learning rate.
    static = inputs.dtype != torch.int32  # the lengths of texts differ
    run: Step = torch.compile(measure, dynamic=False if static else None) if options.compiled else measure
    clip, epochs = work.config["clip_norm"], exported_workload.Epochs(len(inputs))
    for _ in range(options.epochs):
        total, right = torch.zeros(()), torch.zeros((), dtype=torch.long)
        for index in torch.randperm(len(inputs)).split(work.config["batch_size"]):
            optimizer.zero_grad(set_to_none=True)
            batch = inputs_of(inputs[index], layout)
            for change in changes:
                batch = change(batch).contiguous(memory_format=layout)
            loss, hits = run(batch, targets[index])
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            advance()
            total, right = total + loss.detach() * len(index), right + hits
        right.item()
        epochs.done()
    exported_workload.tell("evaluation", split="test", metrics=test(model, *tensors(work, "test"), layout))


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
