"""Accuracy of the built-in configs on real data out of packages, beside scikit-learn on the same examples.

    pip install '.[real-data]'
    python benchmarks/real_data.py [--only iris digits] [--seeds 3]

Each set is written as it comes, and trained by `tfloop train` with a config of two lines. tfloop holds out a tenth for
the test. Accuracy and R2 are in points (times 100), means over the seeds.

Exit code 1: a set cannot be trained; or it is worse than the better of the two baselines by more than 2 points or two
standard errors of the test split, whichever is larger (R2: by more than a twentieth); or the median difference is
negative.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from real_sets import RealSet, WriteSet, images, tables, texts

SETS: Mapping[str, WriteSet] = {**tables.SETS, **texts.SETS, **images.SETS}
MAX_DIFFERENCE = 2.0  # points of accuracy
MAX_R2_FRACTION = 0.05
# Prints the indices of the training and the test examples that a run of a config has.
PRINT_SPLITS = """\
import json, sys
from tfloop_cli.config.loading import load
from tfloop_cli.engine.data import build_data
data = build_data(load([sys.argv[1]]).config)
print(json.dumps([data.split(name)[1].tolist() for name in ("train", "test")]))
"""


@dataclass(frozen=True)
class Result:
    """What was measured on a set: points, means over the seeds.

    Attributes:
        name, metric: of the set.
        train, test: numbers of examples.
        tfloop: points of tfloop.
        baselines: points by name.
        seconds: of a training, the process included.
    """

    name: str
    metric: str
    train: int
    test: int
    tfloop: float
    baselines: Mapping[str, float]
    seconds: float

    @property
    def difference(self) -> float:
        """Points above the better baseline."""
        return self.tfloop - max(self.baselines.values())

    @property
    def allowed(self) -> float:
        """The difference that is allowed."""
        best = max(self.baselines.values())
        if self.metric == "r2":
            return -MAX_R2_FRACTION * abs(best)
        fraction = min(max(best / 100, 0.0), 1.0)
        return -max(MAX_DIFFERENCE, 200 * float(np.sqrt(fraction * (1 - fraction) / self.test)))

    def row(self) -> str:
        """Returns a row of the table."""
        theirs = ", ".join(f"{name} {value:.1f}" for name, value in self.baselines.items())
        missed = "" if self.difference >= self.allowed else f" (allowed: {self.allowed:.1f})"
        return (
            f"| {self.name} | {self.train + self.test:,} | {self.metric} | {self.tfloop:.1f} | {theirs} "
            f"| {self.difference:+.1f}{missed} | {self.seconds:.0f} |"
        )


def run(arguments: list[str], folder: Path) -> str:
    """Returns what a Python process in a folder prints."""
    environment = os.environ | {"TFLOOP_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if found.returncode:
        raise RuntimeError(found.stderr.strip()[-2000:])
    return found.stdout


def train(folder: Path, metric: str, seed: int, more: list[str]) -> tuple[float, float]:
    """Returns the metric of the test split, and the seconds of a training."""
    started = time.perf_counter()
    sets = [part for one in (f"seed={seed}", *more) for part in ("--set", one)]
    output = run(["-m", "tfloop_cli", "train", "my.yaml", "--json", "-o", f"run{seed}", *sets], folder)
    documents: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
    metrics = next(one["metrics"] for one in documents if one["event"] == "evaluation")
    return metrics[metric], time.perf_counter() - started


def measure(name: str, write: WriteSet, seeds: int, more: list[str]) -> Result:
    """Trains a set and its baselines."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        real: RealSet = write(folder)
        (folder / "my.yaml").write_text(real.config)
        rows, test = map(np.array, json.loads(run(["-c", PRINT_SPLITS, "my.yaml"], folder)))
        trained = np.array([train(folder, real.metric, seed, more) for seed in range(seeds)])
        theirs = [real.baselines(rows, test, seed) for seed in range(seeds)]
        means = {key: 100 * float(np.mean([one[key] for one in theirs])) for key in theirs[0]}
        value, seconds = trained.mean(axis=0).tolist()
        return Result(name, real.metric, len(rows), len(test), 100 * value, means, seconds)


def main() -> int:
    """Prints a row per set; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS), metavar="SET")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a change of all configs")
    options = parser.parse_args()
    print("| set | examples | metric | tfloop | scikit-learn | difference | seconds |\n|---|---|---|---|---|---|---|")
    results, failed = [], []
    for name in options.only:
        try:
            results.append(measure(name, SETS[name], options.seeds, options.set))
            print(results[-1].row(), flush=True)
        except RuntimeError as error:
            failed.append(name)
            print(f"| {name} | failed: {error} |", flush=True)
    missed = [one.name for one in results if one.difference < one.allowed]
    middle = median(one.difference for one in results) if results else 0.0
    names = [", ".join(one) or "none" for one in (missed, failed)]
    print(f"\nmedian difference: {middle:+.1f}; missed: {names[0]}; failed: {names[1]}")
    return int(bool(missed or failed or middle < 0))


if __name__ == "__main__":
    sys.exit(main())
