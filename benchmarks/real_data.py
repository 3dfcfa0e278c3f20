"""Accuracy of the built-in configs on real data out of packages, beside scikit-learn on the same examples.

    pip install '.[real-data]'
    python benchmarks/real_data.py [--only iris digits] [--seeds 3]

Each set is written as it comes, and trained by `tfloop train` with a config of two lines. tfloop holds out a tenth for
the test. Accuracy and R2 are in points (times 100), means over the seeds.

Exit code 1: a set cannot be trained; or its difference to the better of the baselines is below `allowed`; or the median
difference is negative. `allowed` is minus 2 points or minus two standard errors, whichever is lower (R2: minus a
twentieth of the baseline's R2). Both models are scored on the same test examples, so the standard error is that of
paired differences: with d_i = fraction of the seeds in which tfloop is right on example i, minus that of the better
baseline, it is the sample deviation of all d_i divided by sqrt(n).

The column `baseline alone` has the bound of an earlier version of this script, for comparison: its standard error is
sqrt(p (1 - p) / n), with p = accuracy of the better baseline. That is 0 where this baseline has no errors, as if 45
test examples were exact, and it ignores on how many examples the two models differ. Sets below it are named too.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from real_sets import WriteSet, images, tables, texts

SETS: Mapping[str, WriteSet] = {**tables.SETS, **texts.SETS, **images.SETS}
MAX_DIFFERENCE = 2.0  # points of accuracy
MAX_R2_FRACTION = 0.05
HEADER = """\
| set | examples | metric | tfloop | scikit-learn | difference | allowed | baseline alone | seconds |
|---|---|---|---|---|---|---|---|---|"""
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
    """What was measured on a set.

    Attributes:
        name: of the set.
        numbers: whether the targets are numbers: the metric is R2, otherwise accuracy.
        examples: of training and test.
        tfloop: score of each test example, means over the seeds, [test]; its mean is the metric.
        baselines: likewise, by name.
        seconds: of a training, the process included.
    """

    name: str
    numbers: bool
    examples: int
    tfloop: np.ndarray
    baselines: Mapping[str, np.ndarray]
    seconds: float

    @property
    def best(self) -> np.ndarray:
        """The scores of the better baseline."""
        return max(self.baselines.values(), key=np.mean)

    @property
    def difference(self) -> float:
        """Points above the better baseline."""
        return points(self.tfloop - self.best)

    @property
    def allowed(self) -> float:
        """The difference that is allowed."""
        return self._bound((self.tfloop - self.best).std(ddof=1))

    @property
    def allowed_alone(self) -> float:
        """The difference that would be allowed by the error of the better baseline alone."""
        fraction = self.best.mean()
        return self._bound(abs(fraction * (1 - fraction)) ** 0.5)

    def _bound(self, deviation: float) -> float:
        """Returns minus the points that are allowed. `deviation`: standard deviation of one example, if no numbers."""
        if self.numbers:
            return -MAX_R2_FRACTION * abs(points(self.best))
        return -max(MAX_DIFFERENCE, 200 * float(deviation) / len(self.best) ** 0.5)

    def row(self) -> str:
        """Returns a row of the table."""
        metric = "r2" if self.numbers else "accuracy"
        theirs = ", ".join(f"{name} {points(scores):.1f}" for name, scores in self.baselines.items())
        return (
            f"| {self.name} | {self.examples:,} | {metric} | {points(self.tfloop):.1f} | {theirs} "
            f"| {self.difference:+.1f} | {self.allowed:.1f} | {self.allowed_alone:.1f} | {self.seconds:.0f} |"
        )


def points(scores: np.ndarray) -> float:
    """Returns the mean, times 100."""
    return 100 * float(scores.mean())


def score(targets: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Returns the score of each example, float64 [examples], whose mean is the accuracy, or R2 of numbers."""
    if targets.dtype.kind in "if":
        return 1 - (targets - predictions) ** 2 / targets.var()
    return (targets == predictions).astype(float)


def run(arguments: list[str], folder: Path) -> str:
    """Returns what a Python process in a folder prints."""
    environment = os.environ | {"TFLOOP_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if found.returncode:
        raise RuntimeError(found.stderr.strip()[-2000:])
    return found.stdout


def train(folder: Path, targets: np.ndarray, seed: int, more: list[str]) -> tuple[np.ndarray, float]:
    """Returns the score of each test example, and the seconds of a training.

    Raises:
        RuntimeError: the training has failed, or the mean of the scores is not the metric that the run has printed.
    """
    started = time.perf_counter()
    sets = [part for one in (f"seed={seed}", *more) for part in ("--set", one)]
    output = run(["-m", "tfloop_cli", "train", "my.yaml", "--json", "-o", f"run{seed}", *sets], folder)
    seconds = time.perf_counter() - started
    documents: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
    metrics = next(one["metrics"] for one in documents if one["event"] == "evaluation")
    scores = score(targets, predictions(folder / f"run{seed}", targets))
    printed = metrics["r2" if targets.dtype.kind in "if" else "accuracy"]
    if not np.isclose(scores.mean(), printed, rtol=0, atol=1e-5):  # also if the examples were in another order
        raise RuntimeError(f"the run has {printed}, and its predictions {scores.mean()}")
    return scores, seconds


def predictions(run_folder: Path, targets: np.ndarray) -> np.ndarray:
    """Returns the predictions that a run has kept of its test split, as `targets`, whose order it has."""
    with np.load(run_folder / "evaluation" / "test.npz") as kept:
        if targets.dtype.kind in "if":
            return kept["scores"][:, 0]
        names = dict(zip(kept["targets"].tolist(), targets, strict=True))
        return np.array([names.get(label, "") for label in kept["scores"].argmax(axis=1).tolist()], targets.dtype)


def measure(name: str, write: WriteSet, seeds: int, more: list[str]) -> Result:
    """Trains a set and its baselines."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        real = write(folder)
        (folder / "my.yaml").write_text(real.config)
        rows, test = map(np.array, json.loads(run(["-c", PRINT_SPLITS, "my.yaml"], folder)))
        targets = real.targets[test]
        trained, seconds = zip(*(train(folder, targets, seed, more) for seed in range(seeds)), strict=True)
        theirs = [real.baselines(rows, test, seed) for seed in range(seeds)]
        means = {key: np.mean([score(targets, one[key]) for one in theirs], axis=0) for key in theirs[0]}
        examples = len(rows) + len(test)
        return Result(
            name, targets.dtype.kind in "if", examples, np.mean(trained, axis=0), means, float(np.mean(seconds))
        )


def listed(names: Iterable[str]) -> str:
    """Returns names with commas between them."""
    return ", ".join(names) or "none"


def main() -> int:
    """Prints a row per set; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS), metavar="SET")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a change of all configs")
    options = parser.parse_args()
    print(HEADER, flush=True)
    results, failed = [], []
    for name in options.only:
        try:
            results.append(measure(name, SETS[name], options.seeds, options.set))
            print(results[-1].row(), flush=True)
        except RuntimeError as error:
            failed.append(name)
            print(f"| {name} | failed: {error} |", flush=True)
    missed = [one.name for one in results if one.difference < one.allowed]
    missed_alone = [one.name for one in results if one.difference < one.allowed_alone]
    middle = median(one.difference for one in results) if results else 0.0
    print(f"\nmedian difference: {middle:+.1f}; below `allowed`: {listed(missed)}; failed: {listed(failed)}")
    print(f"below `baseline alone`: {listed(missed_alone)}")
    return int(bool(missed or failed or middle < 0))


if __name__ == "__main__":
    sys.exit(main())
