"""tfloop beside `keras fit` on the tutorial's net, in turn on this machine; prints medians and ratios.

    python benchmarks/peers.py [--rounds 5] [--epochs 3] [--json FILE]

Every contender is a process of its own: tfloop as its users run it, recorder and checkpoints on, and the scripts beside
this one. Warm is the fastest epoch after the first; cold is the first.
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


def keras_fit(*options: str) -> Callable[..., dict[str, object]]:
    """The script beside this one."""

    def contender(epochs: int, seed: int = 0) -> dict[str, object]:
        script = [sys.executable, str(HERE / "keras_fit.py"), "--epochs", str(epochs), "--seed", str(seed)]
        return run([*script, *options])[-1]

    return contender


def run(command: list[str]) -> list[dict[str, object]]:
    """Runs a process and reads the JSON lines that it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def timed(contender: Callable[..., dict[str, object]], epochs: int) -> dict[str, float]:
    """One round of a contender: seconds of the whole command, and images a second in the first and in a warm epoch."""
    started = time.perf_counter()
    seconds = contender(epochs)["epoch_seconds"]
    whole = time.perf_counter() - started
    return {"cold": EXAMPLES / seconds[0], "warm": EXAMPLES / min(seconds[1:]), "whole": whole}


CONTENDERS = {"tfloop": tfloop, "keras fit, tutorial": keras_fit(), "keras fit, tuned": keras_fit("--tuned")}


def main() -> None:
    """Measures all in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for number in range(options.rounds):
        for name, contender in CONTENDERS.items():
            rounds[name].append(timed(contender, options.epochs))
            print(f"round {number + 1}: {name}: {rounds[name][-1]}", file=sys.stderr)

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; medians of {options.rounds} rounds")
    print(f"{'':22}{'first epoch':>14}{'warm':>12}{'ratio':>8}{'command':>10}")
    ours = statistics.median(row["warm"] for row in rounds["tfloop"])
    for name, rows in rounds.items():
        cold, warm, whole = (statistics.median(row[key] for row in rows) for key in ("cold", "warm", "whole"))
        print(f"{name:22}{cold:>10,.0f}/s  {warm:>8,.0f}/s  {ours / warm:>6.2f}{whole:>9.1f}s")
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=2))


if __name__ == "__main__":
    main()
