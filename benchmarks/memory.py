"""Measures the peak memory of a run, in sizes of its training state: weights and optimizer state.

    python benchmarks/memory.py [--units 8300] [--set KEY=VALUE ...]

A dense network with two hidden layers is trained with Adam: with 8,300 units each it has 75 million parameters. Two
epochs are trained, saved and evaluated in one process; then another one resumes the run for a third epoch. The peak is
the largest resident memory from the moment before the model is built, less the resident memory at that moment.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BAR = 3.5  # training states


def status(name: str) -> int:
    """Returns a field of /proc/self/status in bytes."""
    return int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def main() -> None:
    """Prints one line for training and one for resuming."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=8300, help="per hidden layer")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)  # in the processes that are measured
    options = parser.parse_args()
    if options.run:
        measure(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        for _ in ("train", "resume"):
            command = [sys.executable, __file__, *sys.argv[1:], "--run", f"{folder}/run"]
            subprocess.run(command, check=True, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"})


def measure(options: argparse.Namespace) -> None:
    """Trains, or resumes the run if it exists, and prints the peak."""
    from unittest import mock

    from tfloop_cli.commands import train as command
    from tfloop_cli.config.loading import from_mapping, load
    from tfloop_cli.engine.training import setup
    from tfloop_cli.registry import models
    from tfloop_cli.runs.folder import RunFolder
    from tfloop_cli.runs.start import TrainOptions
    from tfloop_cli.terminal.console import Console

    resume = options.run.exists()
    config = load(["mnist.yaml"], sets=[
        "dataset={name: synthetic, shape: [28, 28, 1], train_examples: 320, test_examples: 32}",
        f"model={{name: mlp, hidden: [{options.units}, {options.units}]}}", "optimizer=adam", "batch_size=32",
        "validation=32", "precision=float32", "device=cpu", f"epochs={3 if resume else 2}", *options.set,
    ]).config  # fmt: skip
    before, state_bytes, build, create = 0, 0, models.build, setup.create_state

    def build_model(*arguments: Any) -> Any:
        nonlocal before
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = status("VmRSS")
        return build(*arguments)

    def create_state(*arguments: Any) -> Any:
        nonlocal state_bytes
        state = create(*arguments)
        state_bytes = sum(v.dtype.size * v.shape.num_elements() for v in state.variables().values())
        return state

    run = RunFolder(options.run)
    train_options = TrainOptions("memory", output=options.run, resume=run if resume else None)
    with (
        mock.patch.object(models, "build", build_model),
        mock.patch.object(setup, "create_state", create_state),
    ):
        command.train(from_mapping(config.model_dump(mode="json"), "benchmark"), train_options, Console(quiet=True))
    peak = status("VmHWM") - before
    name = "resume" if resume else "train"
    print(
        f"{name:7} state {state_bytes / 2**20:,.0f} MiB, peak {peak / 2**20:,.0f} MiB: "
        f"{peak / state_bytes:.2f} training states (bar {BAR})"
    )


if __name__ == "__main__":
    main()
