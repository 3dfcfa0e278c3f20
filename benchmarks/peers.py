"""tfloop beside its peers on the tutorial's net, in turn on this machine; prints medians and ratios.

    python benchmarks/peers.py [--rounds 5] [--epochs 3] [--only NAME ...] [--json FILE]
    python benchmarks/peers.py --torch /path/to/python --jax /path/to/python

Every contender is a process of its own: tfloop as its users run it, with display, recorder and checkpoints, and the
scripts beside this one; all train on the same 60,000 images. PyTorch and JAX want environments of their own, whose
Python the options name; without them they are left out. A ratio is taken round by round, since the machine's speed
drifts, and its median printed.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
EXAMPLES = 60_000


def tfloop(epochs: int, seed: int = 0, *sets: str) -> dict[str, object]:
    """One `tfloop train` on all 60,000 images; its own epoch times, from its JSON documents."""
    changes = [f"epochs={epochs}", f"seed={seed}", "validation=0", *sets]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "tfloop_cli",
            "train",
            "--config",
            "mnist.yaml",
            "--json",
            "-o",
            f"{folder}/run",
        ]
        documents = run([*command, *(part for change in changes for part in ("--set", change))])
    epochs_done = [document["train_seconds"] for document in documents if document["event"] == "epoch"]
    test = next(document["metrics"] for document in documents if document["event"] == "evaluation")
    return {"epoch_seconds": epochs_done, "accuracy": test["accuracy"], "loss": test["loss"]}


def script(name: str, *options: str, python: str = sys.executable) -> Callable[..., dict[str, object]]:
    """A contender that is a script beside this one."""

    def contender(epochs: int, seed: int = 0) -> dict[str, object]:
        return run([python, str(HERE / name), "--epochs", str(epochs), "--seed", str(seed), *options])[-1]

    return contender


def run(command: list[str]) -> list[dict[str, object]]:
    """Runs a process and reads the JSON lines that it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def timed(contender: Callable[..., dict[str, object]], epochs: int) -> dict[str, float]:
    """One round: images a second in the first epoch and in the later ones, seconds of the whole command."""
    started = time.perf_counter()
    first, *later = contender(epochs)["epoch_seconds"]
    whole = time.perf_counter() - started
    return {"cold": EXAMPLES / first, "warm": EXAMPLES / statistics.median(later), "whole": whole}


def cpu() -> str:
    """The processor's name, as Linux tells it."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
        )


def contenders(torch: str | None, jax: str | None) -> dict[str, Callable[..., dict[str, object]]]:
    """All that can run here, by name."""
    found = {
        "tfloop": tfloop,
        "tfloop, bfloat16": lambda epochs: tfloop(epochs, 0, "precision=bfloat16"),
        "keras fit, tutorial": script("keras_fit.py"),
        "keras fit, tuned": script("keras_fit.py", "--tuned"),
    }
    if torch:
        found["pytorch"] = script("torch_loop.py", python=torch)
        found["pytorch, channels last"] = script("torch_loop.py", "--channels-last", python=torch)
        found["pytorch, compiled"] = script("torch_loop.py", "--compile", python=torch)
    if jax:
        found["jax, lax.scan"] = script("jax_scan.py", python=jax)
    return found


def main() -> None:
    """Measures all in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="names of contenders; tfloop always runs")
    parser.add_argument("--torch", help="a Python that has torch")
    parser.add_argument("--jax", help="a Python that has jax and optax")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    chosen = contenders(options.torch, options.jax)
    if options.only is not None:
        chosen = {name: chosen[name] for name in ["tfloop", *options.only]}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
    for number in range(options.rounds):
        for name, contender in chosen.items():
            rounds[name].append(timed(contender, options.epochs))
            print(f"round {number + 1}: {name}: {rounds[name][-1]}", file=sys.stderr)

    print(
        f"{cpu()}, {os.cpu_count()} cores; images a second; "
        f"medians of {options.rounds} rounds, {options.epochs} epochs each"
    )
    print("a ratio over 1 says that tfloop is so many times as fast")
    print(f"{'':24}{'first epoch':>12}{'ratio':>7}{'warm epoch':>12}{'ratio':>7}{'command':>10}{'ratio':>7}")
    for name, rows in rounds.items():
        cells = ""
        for key, unit, width in (("cold", "", 12), ("warm", "", 12), ("whole", " s", 10)):
            median = statistics.median(row[key] for row in rows)
            pairs = [ours[key] / row[key] for ours, row in zip(rounds["tfloop"], rows, strict=True)]
            ratio = statistics.median(1 / pair if key == "whole" else pair for pair in pairs)
            number = f"{median:.1f}{unit}" if unit else f"{median:,.0f}"
            cells += f"{number:>{width}}{ratio:>7.2f}"
        print(f"{name:24}{cells}")
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=2))


if __name__ == "__main__":
    main()
