"""Exports shipped models in every format, and compares each with its run on 1,000 real test examples.

    python -m benchmarks.export_parity [--only NAME ...] [--formats FORMAT ...] [--epochs 1] [--folder FOLDER]

Each model is trained briefly by `tfloop train`; with --folder, runs that it has are used again. In float32 a classifier
passes if its probabilities differ by at most 1e-5, a regressor if its numbers differ by at most 1e-5 of themselves or
of the deviation of the run's predictions, whichever is larger. For int8 the accuracy is compared. The exit code is 1 if
a bar is missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

from tfloop_cli.commands.opening import open_trained_run
from tfloop_cli.engine.exporting import FORMATS, Exported, export
from tfloop_cli.errors import TfloopError
from tfloop_cli.terminal.console import Console

BAR = 1e-5
INT8_BAR, INT8_MODELS = 0.005, ("conv_net", "mlp", "resnet")
TEXTS = {"name": "synthetic_text", "words": 5000, "longest": 100, "train_examples": 4096, "test_examples": 1000}
HOUSES = {"name": "table", "train": "houses.csv", "test": "houses_test.csv", "target": "price"}
KINDS = {"name": "table", "train": "kinds.csv", "test": "kinds_test.csv", "target": "kind"}
REVIEWS = {"name": "text", "train": "reviews.csv", "test": "reviews_test.csv"}
STARS = REVIEWS | {"target": "stars"}

# Name -> config, and the changes to it.
RUNS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "conv_net": ("mnist.yaml", {}),
    "conv_net, batch norm": ("mnist_best.yaml", {}),
    "mlp": ("mnist.yaml", {"model": "mlp"}),
    "resnet": ("mnist.yaml", {"model": {"name": "resnet", "depth": 8}}),
    "linear": ("mnist.yaml", {"model": "linear"}),
    "vit": ("vit.yaml", {"dataset": "mnist", "max_steps": 300}),
    "image_classifier": ("images.yaml", {"dataset": "mnist", "max_steps": 300}),
    "text_linear": ("text.yaml", {"dataset": TEXTS}),
    "text_linear, n-grams": ("text.yaml", {"dataset": REVIEWS}),
    "text_linear, numbers": ("text.yaml", {"dataset": STARS, "task": "regression"}),
    "text_classifier": ("text_embeddings.yaml", {"dataset": TEXTS}),
    "tabular_ensemble": ("tabular.yaml", {"dataset.train_examples": 2000}),
    "tabular_ensemble, all kinds of columns": ("tabular.yaml", {"dataset": KINDS}),
    "tabular_ensemble, numbers": ("tabular.yaml", {"dataset": HOUSES}),
    "mlp, numbers": ("tabular_mlp.yaml", {"dataset": HOUSES}),
    "linear, all kinds of columns": ("tabular_mlp.yaml", {"dataset": KINDS, "model": "linear"}),
}
NAMES = ("area", "rooms", "year", "age"), ("size", "city", "day")


def write_data(folder: Path) -> None:
    """Writes tables and texts that can be learned: 3,000 rows for training, 1,000 for the test."""
    random = np.random.default_rng(0)
    for suffix, rows in (("", 3000), ("_test", 1000)):
        area, rooms, year = random.normal(120, 40, rows), random.integers(1, 9, rows), random.integers(1900, 2021, rows)
        age = [f"{one:.2f}" if one > 0.5 else "" for one in random.exponential(10, rows)]
        price = np.exp(9 + area / 60 + rooms / 8 + (year - 1960) / 80 + random.normal(0, 0.1, rows))
        _write(folder / f"houses{suffix}.csv", "area,rooms,year,age,price", area.round(2), rooms, year, age, price)
        city = random.integers(0, 30, rows)
        kind = np.array(list("abc"))[(city // 10 + (random.random(rows) < 0.1)) % 3]
        day = np.datetime64("2020-01-01") + random.integers(0, 1500, rows)
        size = random.normal(city, 5).round(2)
        _write(folder / f"kinds{suffix}.csv", "size,city,day,kind", size, [f"city{one}" for one in city], day, kind)
        stars = random.integers(1, 6, rows)
        texts = [" ".join(random.choice(["good", "great", "fine"] if draw < one / 6 else ["bad", "poor", "sad"])
                          for draw in random.random(random.integers(3, 30))) for one in stars]  # fmt: skip
        label = np.where(stars > 3, "liked", "not")
        _write(folder / f"reviews{suffix}.csv", "text,label,stars", texts, label, stars)


def _write(path: Path, header: str, *columns: object) -> None:
    lines = [",".join(map(str, row)) for row in zip(*columns, strict=True)]  # type: ignore[call-overload]
    path.write_text("\n".join([header, *lines]) + "\n")


def train(name: str, folder: Path, epochs: int) -> Path:
    """Returns the run folder of a model; trains it if there is none."""
    config, changes = RUNS[name]
    run = folder / name.replace(", ", "-").replace(" ", "-")
    if not (run / "summary.json").exists():
        sets = [part for key, value in changes.items() for part in ("--set", f"{key}={json.dumps(value)}")]
        command = [sys.executable, "-m", "tfloop_cli", "train", config, *sets, "--set", f"epochs={epochs}"]
        subprocess.run([*command, "--output", run.name, "--quiet"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return run


def met(name: str, one: Exported) -> bool:
    """Returns whether a file meets its bar; there is none for float16, and for int8 of most models."""
    if one.quantization == "none":
        return one.comparison.relative_difference <= BAR
    return one.quantization != "int8" or name not in INT8_MODELS or one.comparison.drop <= INT8_BAR + 1e-9


def row(name: str, found: Mapping[str, Exported]) -> list[str]:
    """Returns a row of the table; `found` has a file by "FORMAT" or "litert QUANTIZATION"."""
    first = next(iter(found.values())).comparison

    def cell(kind: str, text: Callable[[Exported], str]) -> str:
        return text(found[kind]) + ("" if met(name, found[kind]) else " (NO)") if kind in found else "failed"

    def difference(kind: str) -> str:
        return cell(kind, lambda one: f"{one.comparison.relative_difference:.1e}")

    def size(kind: str) -> str:
        return cell(kind, lambda one: f"{one.bytes / 1000:,.0f}")

    metrics = [f"{first.metric} {first.run_metric:.4f}"]
    metrics += [cell("litert int8", lambda one: f"{one.comparison.metric_value:.4f}")]
    sizes = map(size, ("litert", "litert float16", "litert int8"))
    return [name, *map(difference, FORMATS), difference("litert float16"), *metrics, *sizes]


def main() -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS), metavar="NAME")
    parser.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    folder = (arguments.folder or Path(tempfile.mkdtemp())).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    write_data(folder)
    os.chdir(folder)
    console, rows, passed = Console(quiet=True), [], True
    kinds = [(one, None) for one in arguments.formats]
    kinds += [("litert", one) for one in ("float16", "int8") if "litert" in arguments.formats]
    for name in arguments.only:
        run = open_trained_run(train(name, folder, arguments.epochs), console, device="cpu")
        found: dict[str, Exported] = {}
        for format_, quantize in kinds:
            try:
                with console.quiet_stderr():
                    (one,) = export(run, [format_], quantize=quantize, split="test", max_drop=1.0)
            except TfloopError as error:
                print(f"{name}, {format_}, {quantize}: {error}", file=sys.stderr, flush=True)
                passed = passed and quantize is not None
                continue
            found[" ".join(filter(None, (format_, quantize)))] = one
            passed &= met(name, one)
            print(name, one.format, one.quantization, one.comparison, sep="\t", file=sys.stderr, flush=True)
        rows += [row(name, found)] if found else []
    sizes = ("kB litert", "kB float16", "kB int8")
    header = ["model", *FORMATS, "float16", "run", "int8", *sizes]
    print("| " + " | ".join(header) + " |\n|" + " --- |" * len(header))
    print(*("| " + " | ".join(cells) + " |" for cells in rows), sep="\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
