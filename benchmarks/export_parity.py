"""Exports shipped models in every format, and compares each with its run on 1,000 real test examples.

    python -m benchmarks.export_parity [--only NAME ...] [--formats FORMAT ...] [--epochs 1] [--folder FOLDER]

Each model is trained briefly by `tfloop train`; with --folder, runs that it has are used again. A classifier passes if
its probabilities differ by at most 1e-5 in float32, a regressor if its numbers differ by at most 1e-5 of themselves or
of the deviation of the run's predictions, whichever is larger. For int8 the accuracy is compared. The exit code is 1 if a bar is missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

from tfloop_cli.commands.opening import open_trained_run
from tfloop_cli.engine.exporting import FORMATS, Exported, export
from tfloop_cli.errors import TfloopError
from tfloop_cli.terminal.console import Console

BAR = 1e-5
INT8_BAR, INT8_MODELS = 0.005, ("conv_net", "mlp", "resnet")
IMAGES = {"name": "synthetic", "shape": [32, 32, 3], "noise": 0.1, "train_examples": 1024, "test_examples": 1000}
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
    "vit": ("vit.yaml", {"dataset": IMAGES}),
    "image_classifier": ("images.yaml", {"dataset": IMAGES, "batch_size": 64}),
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


def row(name: str, one: Exported) -> tuple[list[str], bool]:
    """Returns a row of the table, and whether the bar is met."""
    found = one.comparison
    difference = found.relative_difference
    int8 = one.quantization == "int8"
    passed = difference <= BAR if one.quantization == "none" else not int8 or name not in INT8_MODELS or (
        found.drop <= INT8_BAR + 1e-9
    )  # fmt: skip
    label = one.format if one.quantization == "none" else f"{one.format} {one.quantization}"
    equal = "" if found.equal_classes is None else f"{found.equal_classes:.2%}"
    metrics = [f"{value:.4f}" for value in (found.run_metric, found.metric_value)]
    cells = [name, label, f"{difference:.1e}", equal, *metrics, f"{one.bytes / 1000:,.0f}", f"{found.latency_ms:.2f}"]
    return [*cells, "yes" if passed else "NO"], passed


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
    console, rows, all_passed = Console(quiet=True), [], True
    for name in arguments.only:
        run = open_trained_run(train(name, folder, arguments.epochs), console, device="cpu")
        kinds = [(one, None) for one in arguments.formats]
        kinds += [("litert", one) for one in ("float16", "int8") if "litert" in arguments.formats]
        for format_, quantize in kinds:
            try:
                with console.quiet_stderr():
                    (one,) = export(run, [format_], quantize=quantize, split="test", max_drop=1.0)
            except TfloopError as error:
                print(f"{name}, {format_}, {quantize}: {error}", flush=True)
                all_passed = all_passed and quantize is not None
                continue
            cells, passed = row(name, one)
            print(*cells, sep="\t", flush=True)
            rows.append(cells)
            all_passed &= passed
    header = ["model", "format", "largest difference", "equal classes", "run", "exported", "kB", "ms", "bar met"]
    print("| " + " | ".join(header) + " |\n|" + " --- |" * len(header))
    print(*("| " + " | ".join(cells) + " |" for cells in rows), sep="\n")
    return 0 if all_passed else 1


if __name__ == "__main__":
    sys.exit(main())
