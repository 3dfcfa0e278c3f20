"""Shared by the sections: results of checks, a small config, and tfloop as a separate process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parents[2]
OUTPUT = "output.txt"  # of all processes of a section, in its folder
SMALL: dict[str, Any] = {
    "dataset": {"name": "synthetic", "shape": [8, 8, 1], "classes": 3, "train_examples": 64, "test_examples": 16},
    "model": "linear",
    "epochs": 2,
    "batch_size": 16,
    "validation": 16,
    "device": "cpu",
    "threads": 1,  # TensorFlow cannot change it later in the process
}


@dataclass
class Campaign:
    """The settings and the results of a run of sections.

    Attributes:
        folder: on the filesystem under test.
        quick: whether to run the short form, as the test suite does.
        findings: one per check: name, whether it passed, details.
    """

    folder: Path
    quick: bool
    findings: list[tuple[str, bool, str]] = field(default_factory=list)

    def log(self, text: str) -> None:
        """Prints a line with the time."""
        print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)

    def check(self, name: str, passed: bool, details: object = "") -> None:
        """Records and prints the result of a check."""
        self.findings.append((name, bool(passed), str(details)))
        self.log(f"{'passed' if passed else 'FAILED'}  {name}: {details}")

    @property
    def held(self) -> bool:
        """Whether there are checks, and all of them passed."""
        return bool(self.findings) and all(passed for _, passed, _ in self.findings)


def write_config(path: Path, config: dict[str, Any]) -> Path:
    """Writes a config as JSON, which is also YAML."""
    path.write_text(json.dumps(config, indent=1))
    return path


def tfloop(*arguments: object, folder: Path, python: Sequence[str] = ()) -> "subprocess.Popen[str]":
    """Starts tfloop in a folder; its output is appended to `OUTPUT`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *python, "-m", "tfloop_cli", *map(str, arguments)]
    with open(folder / OUTPUT, "a") as output:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output, text=True)


def history(run: Path) -> list[dict[str, Any]]:
    """Returns the documents in metrics.jsonl without times, so that they are equal for equal runs."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = ("event", "epoch", "step", "train", "validation", "best", "split", "examples", "metrics", "weights_sha256")
    return [{key: line[key] for key in kept if key in line} for line in lines]


def verified_checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoints in a run's `checkpoints/`, after verifying all of them against their checksums.

    Raises:
        TfloopError: one of them is damaged.
    """
    from tfloop_cli.engine.checkpoints.storage import read_arrays
    from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints

    checkpoints = list_checkpoints(folder)
    for path in checkpoints:
        read_arrays(Checkpoint.open(path))
    return checkpoints


def median(values: Sequence[float]) -> float:
    """Returns the upper median."""
    return sorted(values)[len(values) // 2]
