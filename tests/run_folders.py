"""Run folders that tests write: what `tfloop train` writes, without training."""

import json
from pathlib import Path
from typing import Any

CONFIG = """\
dataset: {{name: mnist}}
model: {{name: {model}, dropout: 0.3}}
task: {{name: classification, loss: cross_entropy, label_smoothing: 0.0, metrics: [accuracy]}}
epochs: {epochs}
optimizer:
  name: adam
  learning_rate: {learning_rate}
seed: {seed}
runs_dir: runs
"""


def write_run(
    folder: Path,
    accuracies: tuple[float | None, ...] = (0.5, 0.9, 0.8),
    *,
    model: str = "conv_net",
    learning_rate: float = 0.001,
    seed: int = 0,
    test: float | None = 0.85,
    reason: str | None = "completed",
    day: int = 1,
    meta: dict[str, Any] | None = None,
) -> Path:
    """Writes a run folder and returns it.

    Args:
        folder: of the run.
        accuracies: the validation accuracy of each epoch.
        model, learning_rate, seed: of the config.
        test: accuracy on the test split; None: it was not evaluated.
        reason: why the run ended; None: it has not.
        day: of November 2026 on which it started.
        meta: changes to meta.json.
    """
    folder.mkdir(parents=True)
    epochs: list[dict[str, Any]] = []
    for number, accuracy in enumerate(accuracies, 1):
        best = accuracy is not None and accuracy == max(one for one in accuracies[:number] if one is not None)
        validation = {"loss": 1.0 / number, "accuracy": accuracy}
        epochs.append({
            "event": "epoch", "epoch": number, "step": 10 * number, "train": {"loss": 2.0 / number},
            "validation": validation, "train_seconds": 1.0, "validation_seconds": 0.5, "examples_per_second": 100.0,
            "best": best,
        })  # fmt: skip
    metadata = {
        "started": f"2026-11-{day:02}T12:00:00.000000+00:00", "command": ["x", "train", "a.yaml"], "host": "vm",
        "versions": {"tfloop": "0.1.0", "tensorflow": "2.21.0"}, "cpu": "AMD", "cpu_flags": ["avx2", "sse"], "cores": 2,
        "run_id": folder.name, "device": "cpu", "threads": 2, "data": "ab" * 32, "train_examples": 100, "code": {},
        "best_metric": "max accuracy", "sources": {"seed": "a.yaml:3"}, "resumed": [],
    }  # fmt: skip
    config = CONFIG.format(model=model, epochs=len(epochs), learning_rate=learning_rate, seed=seed)
    (folder / "config.yaml").write_text(config)
    (folder / "meta.json").write_text(json.dumps(metadata | (meta or {})))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in epochs))
    (folder / ".lock").write_text("")
    if reason:
        kept = [{key: one[key] for key in ("epoch", "step", "train", "validation")} for one in epochs]
        best = next((kept[one["epoch"] - 1] for one in reversed(epochs) if one["best"]), None)
        evaluations = {} if test is None else {"test": {"examples": 20, "accuracy": test}}
        summary = {
            "schema": 1, "reason": reason, "run": str(folder), "weights_sha256": "cd" * 32, "seconds": 90.0,
            "final": kept[-1] if kept else None, "best": best, "evaluations": evaluations,
        }  # fmt: skip
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder
