"""Accuracy or R2 of text.yaml on real short texts, beside scikit-learn on the same rows.

    python -m venv /tmp/texts && /tmp/texts/bin/pip install babel django ...  (see real_sets/texts.py)
    /tmp/texts/bin/python benchmarks/real_texts.py --tfloop "$(which python) -m tfloop_cli"

The baselines are TF-IDF of words, and of 1 to 4 characters, each with logistic regression (C = 10), or with ridge
regression for numbers. A difference of less than two standard errors of the test set is chance.
"""

import argparse
import csv
import json
import math
import os
import random
import shlex
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from real_sets.texts import TEXTS, Rows
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

MAX_ROWS = 2000
TRAIN_FRACTION = 0.7


def split(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Returns distinct rows for training and testing; all classes of the test occur in training."""
    rows = sorted(set(rows))
    random.Random(seed).shuffle(rows)
    count = round(min(MAX_ROWS, len(rows)) * TRAIN_FRACTION)
    train, test = rows[:count], rows[count:MAX_ROWS]
    known = {target for _, target in train}
    return train, [row for row in test if isinstance(row[1], float) or row[1] in known]


def baseline(train: Rows, test: Rows) -> float:
    """Returns accuracy or R2 of the better of words and characters with a linear model."""
    scores = []
    (texts, targets), (test_texts, test_targets) = zip(*train, strict=True), zip(*test, strict=True)
    for vectorizer in (TfidfVectorizer(), TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4))):
        features = vectorizer.fit_transform(texts)
        model = Ridge() if isinstance(targets[0], float) else LogisticRegression(C=10, max_iter=500)
        scores.append(model.fit(features, targets).score(vectorizer.transform(test_texts), test_targets))
    return max(scores)


def tfloop(command: list[str], folder: Path, train: Rows, test: Rows) -> tuple[float, float]:
    """Returns accuracy or R2 on the test split, and the seconds of a run with a config of two lines."""
    for name, rows in (("train", train), ("test", test)):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "target"), *rows])
    (folder / "my.yaml").write_text("extends: text.yaml\ndataset: {name: text, train: train.csv, test: test.csv}\n")
    output = subprocess.run(
        [*command, "train", "my.yaml", "--json"],
        cwd=folder,
        env=os.environ | {"TFLOOP_OFFLINE": "1"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    documents = [json.loads(line) for line in output.splitlines()]
    metrics = next(one["metrics"] for one in documents if one.get("split") == "test")
    return metrics.get("accuracy", metrics.get("r2")), documents[-1]["seconds"]


def main() -> None:
    """Prints a row per set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tfloop", default="tfloop", help="the command that runs tfloop")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="names of sets that contain this text")
    arguments = parser.parse_args()
    print("| texts | training texts | scikit-learn | tfloop | difference | two errors | seconds |\n" + "|---" * 7 + "|")
    for name in [name for name in TEXTS if arguments.only in name]:
        results = []
        for seed in range(arguments.seeds):
            train, test = split(TEXTS[name](), seed)
            with tempfile.TemporaryDirectory() as folder:
                results.append(
                    (baseline(train, test), *tfloop(shlex.split(arguments.tfloop), Path(folder), train, test))
                )
        theirs, ours, seconds = np.mean(results, axis=0)
        error = 200 * math.sqrt(max(0.0, theirs * (1 - theirs)) / len(test))
        print(
            f"| {name.replace('_', ' ')} | {len(train):,} | {theirs:.3f} | {ours:.3f} | {100 * (ours - theirs):+.1f} "
            f"| {error:.1f} | {seconds:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
