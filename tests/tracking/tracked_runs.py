"""Parts of a run folder without a training."""

import json
from typing import Any

from tfloop_cli.runs.folder import RunFolder

CONFIG = """\
dataset: {name: mnist}
model: {name: linear}
augment: [flip]
tracking:
  - {name: mlflow, uri: "http://tracking.example", experiment: null}
"""


def epoch(number: int, loss: float | None = None) -> dict[str, Any]:
    return {
        "event": "epoch", "epoch": number, "step": 10 * number, "train": {"loss": loss or 1.0 / number},
        "validation": {"loss": None, "accuracy": 0.5}, "train_seconds": 2.0, "validation_seconds": 1.0,
        "examples_per_second": 100.0, "best": True,
    }  # fmt: skip


EVALUATION = {"event": "evaluation", "split": "test", "examples": 5, "metrics": {"accuracy": 0.75}, "checkpoint": "c"}


def write_lines(run: RunFolder, *documents: Any) -> None:
    run.metrics.write_text("".join(json.dumps(one) + "\n" for one in documents))
