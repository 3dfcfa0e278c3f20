"""How long `tfloop runs list` needs for 1,000 run folders.

    python -m benchmarks.runs_list [--runs 1000] [--epochs 20]

The folders are written to a temporary folder, with meta.json and metrics.jsonl as long as those of a real run. Each
command is a new process, five times; the fastest and the median are printed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tfloop_cli.files import json_text

COMMANDS = {
    "default": (),
    "sorted and filtered": ("--sort", "-test/accuracy", "--where", "config.optimizer.learning_rate < 0.0015"),
    "ten": ("--limit", "10"),
}
CONFIG = """\
dataset: {{name: mnist}}
model: {{name: conv_net, filters: [32], kernel_size: 3, units: 128, dropout: {dropout}}}
task: {{name: classification, loss: cross_entropy, label_smoothing: 0.0, metrics: [accuracy]}}
epochs: {epochs}
optimizer:
  name: adam
  learning_rate: 0.00{number:04}
  weight_decay: null
seed: {number}
"""


def write_run(folder: Path, number: int, epochs: int) -> None:
    """Writes a run folder without checkpoints."""
    folder.mkdir(parents=True)
    values = [
        {"event": "epoch", "epoch": epoch, "step": epoch * 469,
         "train": {"loss": 1 / epoch, "accuracy": 1 - 1 / (epoch + 1)},
         "validation": {"loss": 1 / epoch, "accuracy": 1 - 1 / (epoch + 1 + number / 1000)},
         "train_seconds": 2.5, "validation_seconds": 0.1, "examples_per_second": 20000.0, "best": True}
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip
    last = {key: values[-1][key] for key in ("epoch", "step", "train", "validation")}
    summary: dict[str, Any] = {
        "schema": 1, "reason": "completed", "run": str(folder), "checkpoint": "", "weights_sha256": "ab" * 32,
        "seconds": 60.0, "final": last, "best": last,
        "evaluations": {"test": {"examples": 10000, "loss": 0.05, "accuracy": 0.98 + number / 1e5}},
    }  # fmt: skip
    metadata = {
        "started": f"2026-11-26T10:{number // 60 % 60:02}:{number % 60:02}.000000+00:00",
        "command": ["tfloop", "train"], "cpu_flags": [f"flag_{flag}" for flag in range(130)],
        "versions": {"tfloop": "0.1.0"}, "run_id": f"{number:016}",
        "best_metric": "max accuracy", "data": "cd" * 32, "code": {}, "name_prefix": "mnist",
    }  # fmt: skip
    (folder / "config.yaml").write_text(CONFIG.format(dropout=number / 2000, epochs=epochs, number=number))
    (folder / "meta.json").write_text(json_text(metadata, indent=2))
    (folder / "summary.json").write_text(json_text(summary, indent=2))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in values))
    (folder / ".lock").write_text("pid 1 on host\n")


def main() -> None:
    """Writes the folders and prints one line per command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.runs):
            write_run(Path(folder) / f"mnist-20261126-{number:06}-a1b2", number, arguments.epochs)
        for name, options in COMMANDS.items():
            command = [sys.executable, "-m", "tfloop_cli", "runs", "list", "--runs-dir", folder, *options]
            seconds = []
            for _ in range(5):
                started = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                seconds.append(time.perf_counter() - started)
            print(f"{name:20} {min(seconds):.2f} s, median {statistics.median(seconds):.2f} s", flush=True)


if __name__ == "__main__":
    main()
