"""What the sections share: findings, small runs, and tfloop as a process that can be killed."""

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
SMALL: dict[str, Any] = {
    "dataset": {"name": "synthetic", "shape": [8, 8, 1], "classes": 3, "train_examples": 64, "test_examples": 16},
    "model": "linear",
    "epochs": 2,
    "batch_size": 16,
    "validation": 16,
    "device": "cpu",
    "threads": 1,  # TensorFlow lets a process choose once
}


@dataclass
class Campaign:
    """Where a section works, how much it does, and what it has found.

    Attributes:
        folder: on the filesystem that is tested.
        quick: the short form, for the test suite.
        findings: one for each thing that was to hold: what, whether, figures.
    """

    folder: Path
    quick: bool
    findings: list[tuple[str, bool, str]] = field(default_factory=list)

    def say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)

    def hold(self, what: str, held: bool, figures: object = "") -> None:
        """Notes a finding."""
        self.findings.append((what, bool(held), str(figures)))
        self.say(f"{'held  ' if held else 'FAILED'}  {what}: {figures}")

    @property
    def held(self) -> bool:
        return bool(self.findings) and all(held for _, held, _ in self.findings)


def write_config(path: Path, config: dict[str, Any]) -> Path:
    """JSON is YAML too."""
    path.write_text(json.dumps(config, indent=1))
    return path


def tfloop(*arguments: object, folder: Path, python: Sequence[str] = ()) -> "subprocess.Popen[str]":
    """Starts tfloop as a process of its own; what it says goes to `said.txt` in the folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *python, "-m", "tfloop_cli", *map(str, arguments)]
    with open(folder / "said.txt", "a") as said:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said, text=True)


def history(run: Path) -> list[dict[str, Any]]:
    """The epochs and the score of metrics.jsonl, without what the clock decides."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = ("event", "epoch", "step", "train", "validation", "best", "split", "examples", "metrics", "weights_sha256")
    return [{key: line[key] for key in kept if key in line} for line in lines]


def whole(checkpoints: Path) -> list[Path]:
    """The checkpoints of a run, every one verified bit for bit.

    Raises:
        TfloopError: one is not whole.
    """
    from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints

    there = list_checkpoints(checkpoints)
    for path in there:
        Checkpoint.open(path).arrays()
    return there


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return sorted(values)[len(values) // 2]
