"""Trains an exported workload with a PyTorch loop. Prints JSON documents; requires only torch and NumPy.

    python benchmarks/export_workload.py mnist.yaml --arrays mnist.npz
    python benchmarks/torch_loop.py mnist.npz --epochs 3 [--compiled] [--channels-last] [--bfloat16]

It follows PyTorch's documentation for CPUs: data in memory as one tensor, one indexing operation and one augmentation
per batch, `set_to_none`, a fused optimizer, and on request `torch.compile`, the channels-last memory format or
autocast. The models are in `torch_models.py`, the augmentations in `torch_augmentations.py`.
"""

import math
from collections.abc import Callable

import exported_workload
import torch
import torch_augmentations
from torch_models import build

Step = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def build_optimizer(
    work: exported_workload.ExportedWorkload, model: torch.nn.Module, epochs: int
) -> tuple[torch.optim.Optimizer, Callable]:
    """Returns the optimizer of the config, and a function that advances its learning rate after each step."""
    arguments, config = work.config["optimizer"], work.config
    common = {"lr": arguments["learning_rate"], "eps": arguments["epsilon"], "fused": True}
    if arguments["name"] == "adamw":
        optimizer = torch.optim.AdamW(model.parameters(), weight_decay=arguments["weight_decay"], **common)
    else:
        optimizer = torch.optim.Adam(model.parameters(), **common)
    if config["schedule"]["name"] != "cosine":
        return optimizer, lambda: None
    warmup = config["warmup_steps"]
    steps = epochs * -(-len(work.arrays["train_inputs"]) // config["batch_size"]) - warmup

    def multiplier(step: int) -> float:
        progress = min(max(step - warmup, 0) / steps, 1.0)
        return min((step + 1) / (warmup + 1), 1.0) * 0.5 * (1 + math.cos(math.pi * progress))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, multiplier).step


def prepare_inputs(array: torch.Tensor, memory_format: torch.memory_format) -> torch.Tensor:
    """Returns a batch as the model's input.

    Pixels become float32 in [0, 1], [batch, channels, height, width]; texts are cut to the longest one, [batch, words];
    rows are returned unchanged.
    """
    if array.dtype == torch.int32:
        return array[:, : int((array > 0).sum(1).max())]
    values = array.float() / 255 if array.dtype == torch.uint8 else array
    return values.contiguous(memory_format=memory_format) if values.ndim == 4 else values


def load_split(work: exported_workload.ExportedWorkload, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns a split: images [examples, channels, height, width], rows or texts, and int64 labels."""
    inputs = torch.from_numpy(work.arrays[f"{split}_inputs"])
    inputs = inputs.permute(0, 3, 1, 2).contiguous() if inputs.ndim == 4 else inputs
    return inputs, torch.from_numpy(work.arrays[f"{split}_targets"]).long()


def main() -> None:
    """Trains, and evaluates the test split."""
    options = exported_workload.parse_arguments(
        __doc__,
        compiled="use torch.compile",
        channels_last="use the channels-last memory format",
        bfloat16="use autocast",
    )
    torch.manual_seed(options.seed)
    work, memory_format = exported_workload.read(options.data), torch.contiguous_format
    if options.channels_last:
        memory_format = torch.channels_last
    inputs, targets = load_split(work, "train")
    model = build(work).to(memory_format=memory_format)
    optimizer, advance = build_optimizer(work, model, options.epochs)
    augmentations = torch_augmentations.build(work.config["augment"])

    def forward(batch: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
            logits = model(batch)
        return torch.nn.functional.cross_entropy(logits.float(), labels), (logits.argmax(1) == labels).sum()

    # The optimizer is not compiled, because it would be compiled again for each learning rate.
    static = inputs.dtype != torch.int32  # the lengths of texts differ
    step: Step = torch.compile(forward, dynamic=False if static else None) if options.compiled else forward
    clip_norm, timer = work.config["clip_norm"], exported_workload.EpochTimer(len(inputs))
    for _ in range(options.epochs):
        loss_sum, correct = torch.zeros(()), torch.zeros((), dtype=torch.long)
        for indices in torch.randperm(len(inputs)).split(work.config["batch_size"]):
            optimizer.zero_grad(set_to_none=True)
            batch = prepare_inputs(inputs[indices], memory_format)
            for augment in augmentations:
                batch = augment(batch).contiguous(memory_format=memory_format)
            loss, correct_in_batch = step(batch, targets[indices])
            loss.backward()
            if clip_norm:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimizer.step()
            advance()
            loss_sum, correct = loss_sum + loss.detach() * len(indices), correct + correct_in_batch
        correct.item()
        timer.stop()
    metrics = evaluate(model, *load_split(work, "test"), memory_format)
    exported_workload.emit("evaluation", split="test", metrics=metrics)


@torch.no_grad()
def evaluate(
    model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor, memory_format: torch.memory_format
) -> dict[str, float]:
    """Returns loss and accuracy."""
    model.eval()
    logits = torch.cat([model(prepare_inputs(part, memory_format)) for part in inputs.split(1024)])
    accuracy = (logits.argmax(1) == targets).float().mean().item()
    return {"loss": torch.nn.functional.cross_entropy(logits, targets).item(), "accuracy": accuracy}


if __name__ == "__main__":
    main()
