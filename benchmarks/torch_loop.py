"""A PyTorch loop on the tutorial's net, for comparison. Prints a JSON document; needs torch and numpy only.

    python benchmarks/torch_loop.py --epochs 3 [--compile] [--channels-last]

What its documentation advises for a CPU: data in memory as one tensor, an index a batch, `set_to_none`, a fused Adam,
and `torch.compile` or the channels-last layout where they are asked for.
"""

import argparse
import gzip
import json
import time
from pathlib import Path

STARTED = time.perf_counter()

import torch  # noqa: E402

DATA = Path(__file__).parent.parent / "tfloop_cli" / "assets" / "mnist"


def read(name: str, header: int) -> torch.Tensor:
    """The bytes of a shipped MNIST file behind its header, uint8."""
    return torch.frombuffer(bytearray(gzip.decompress((DATA / f"{name}.gz").read_bytes())[header:]), dtype=torch.uint8)


def main() -> None:
    """Trains, tests, and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    images = read("train-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    labels = read("train-labels-idx1-ubyte", 8).long()
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(26 * 26 * 32, 10)
    ).to(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), 0.001, eps=1e-7, fused=True)

    def step(pictures: torch.Tensor, answers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        optimizer.zero_grad(set_to_none=True)
        logits = model(pictures)
        loss = torch.nn.functional.cross_entropy(logits, answers)
        loss.backward()
        optimizer.step()
        return loss.detach() * len(answers), (logits.argmax(1) == answers).sum()

    run = torch.compile(step) if options.compile else step
    seconds = []
    for _ in range(options.epochs):
        started = time.perf_counter()
        total, right = torch.zeros(()), torch.zeros((), dtype=torch.long)
        for index in torch.randperm(len(images)).split(options.batch_size):
            pictures = (images[index].float() / 255).contiguous(memory_format=layout)
            loss, hits = run(pictures, labels[index])
            total, right = total + loss, right + hits
        right.item()
        seconds.append(time.perf_counter() - started)
    with torch.no_grad():
        pictures = read("t10k-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28).float() / 255
        answers = read("t10k-labels-idx1-ubyte", 8).long()
        accuracy = (model(pictures).argmax(1) == answers).float().mean().item()
    print(json.dumps({"epoch_seconds": seconds, "accuracy": accuracy, "seconds": time.perf_counter() - STARTED}))


if __name__ == "__main__":
    main()
