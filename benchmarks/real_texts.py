"""Accuracy of text.yaml on real short texts, beside scikit-learn on the same rows.

    python -m venv /tmp/texts && /tmp/texts/bin/pip install scikit-learn babel emoji names
    /tmp/texts/bin/python benchmarks/real_texts.py --tfloop "$(which python) -m tfloop_cli"

The texts come out of packages: kinds of names (territory, language, currency, script, city) in five languages and the
language of names from babel, the language of emoji names, and the gender of given names. The baselines are TF-IDF of
words, and of 1 to 4 characters, each with logistic regression (C = 10).
"""

import argparse
import json
import os
import random
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
from babel import Locale
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

Rows = list[tuple[str, str]]  # text, class
MAX_ROWS = 2000
TRAIN_FRACTION = 0.7
LANGUAGES = "en de fr es it pt nl sv pl cs fi tr ru uk el ar fa hi bn ta th zh ja ko vi"


def kinds(language: str) -> Rows:
    """Returns names of five kinds in one language."""
    locale = Locale.parse(language)
    groups = {"territory": locale.territories, "language": locale.languages, "currency": locale.currencies}
    rows = [(name, kind) for kind, names in (groups | {"script": locale.scripts}).items() for name in names.values()]
    return rows + [(zone["city"], "city") for zone in locale.time_zones.values() if "city" in zone]


def languages() -> Rows:
    """Returns names of territories and languages, with the language that they are written in."""
    rows = []
    for language in LANGUAGES.split():
        locale = Locale.parse(language)
        names = [*locale.territories.values(), *locale.languages.values()]
        rows += [(name, language) for name in random.Random(0).sample(names, 150)]
    return rows


def emoji_names() -> Rows:
    """Returns names of emoji, with their language."""
    rows = []
    for language in ["ar", "de", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh"]:
        file = resources.files("emoji") / "unicode_codes" / f"emoji_{language}.json"
        found = json.loads(file.read_text(encoding="utf-8")).values()
        names = [name if isinstance(name, str) else next(iter(name.values()), "") for name in found]
        chosen = random.Random(0).sample(names, 200)
        rows += [(name.strip(":").replace("_", " "), language) for name in chosen]
    return rows


def given_names() -> Rows:
    """Returns given names of one gender, with the gender."""
    genders = {
        gender: {line.split()[0].title() for line in (resources.files("names") / file).read_text().splitlines() if line}
        for gender, file in (("female", "dist.female.first"), ("male", "dist.male.first"))
    }
    both = genders["female"] & genders["male"]
    return [(name, gender) for gender, names in genders.items() for name in names - both]


SETS: dict[str, Callable[[], Rows]] = {
    **{f"kinds of names, {language}": lambda language=language: kinds(language) for language in ("en", "zh", "ja")},
    **{f"kinds of names, {language}": lambda language=language: kinds(language) for language in ("th", "hi")},
    "language of names": languages,
    "language of emoji": emoji_names,
    "gender of names": given_names,
}


def split(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Returns distinct rows for training and testing; all classes of the test occur in training."""
    rows = sorted(set(rows))
    random.Random(seed).shuffle(rows)
    count = round(min(MAX_ROWS, len(rows)) * TRAIN_FRACTION)
    train, test = rows[:count], rows[count:MAX_ROWS]
    known = {kind for _, kind in train}
    return train, [row for row in test if row[1] in known]


def baseline(train: Rows, test: Rows) -> float:
    """Returns the accuracy of the better of words and characters with logistic regression."""
    scores = []
    for vectorizer in (TfidfVectorizer(), TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4))):
        features = vectorizer.fit_transform([text for text, _ in train])
        model = LogisticRegression(C=10, max_iter=500).fit(features, [kind for _, kind in train])
        scores.append(model.score(vectorizer.transform([text for text, _ in test]), [kind for _, kind in test]))
    return max(scores)


def tfloop(command: list[str], folder: Path, train: Rows, test: Rows) -> tuple[float, float]:
    """Returns test accuracy and seconds of a run with a config of two lines."""
    for name, rows in (("train", train), ("test", test)):
        lines = (json.dumps({"text": text, "label": kind}) + "\n" for text, kind in rows)
        (folder / f"{name}.jsonl").write_text("".join(lines))
    (folder / "my.yaml").write_text("extends: text.yaml\ndataset: {name: text, train: train.jsonl, test: test.jsonl}\n")
    environment = os.environ | {"TFLOOP_OFFLINE": "1"}
    output = subprocess.run(
        [*command, "train", "my.yaml", "--json"],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    documents = [json.loads(line) for line in output.splitlines()]
    accuracy = next(one["metrics"]["accuracy"] for one in documents if one.get("split") == "test")
    return accuracy, documents[-1]["seconds"]


def main() -> None:
    """Prints a row per set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tfloop", default="tfloop", help="the command that runs tfloop")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print("| texts | training texts | scikit-learn | tfloop | difference | seconds |\n|---|---|---|---|---|---|")
    for name, rows in SETS.items():
        results = []
        for seed in range(arguments.seeds):
            train, test = split(rows(), seed)
            with tempfile.TemporaryDirectory() as folder:
                results.append(
                    (baseline(train, test), *tfloop(shlex.split(arguments.tfloop), Path(folder), train, test))
                )
        theirs, ours, seconds = np.mean(results, axis=0)
        difference = f"{100 * (ours - theirs):+.1f}"
        print(f"| {name} | {len(train):,} | {theirs:.3f} | {ours:.3f} | {difference} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
