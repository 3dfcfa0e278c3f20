"""Predicts for 10,000 images and 1,000,000 rows with `tfloop predict`, beside `keras.Model.predict` on the same arrays.

    python benchmarks/predict.py [--images 10000] [--rows 1000000] [--rounds 3]

Both run in this process, in turns, with the batch size of the run. From .npy files, tfloop has to be as fast as Keras,
which has the array in memory: the median of the ratios is at least 1.0. From image files and .csv files, tfloop needs
at most 1.1 times the time of reading the files alone and then predicting with Keras. tfloop's time includes the result
as a .csv file. Memory is flat: predicting needs at most 64 MB more at its end than after a tenth of the inputs.
Exit code 1 if a bar is missed.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import keras
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import tensorflow as tf

from tfloop_cli.commands.opening import open_trained_run
from tfloop_cli.commands.prediction_file import PredictionFile
from tfloop_cli.engine.data.images.decoding import Decoder
from tfloop_cli.engine.inference import Inputs, ResultColumns, default_batch_size, predict, reader_of
from tfloop_cli.engine.inference.ahead import ahead
from tfloop_cli.engine.trained_run import TrainedRun
from tfloop_cli.terminal.console import Console

NPY_RATIO, FILE_RATIO = 1.0, 1.1
MAX_GROWTH = 64 * 2**20  # bytes
SIDE, FEATURES = 32, 16
ENCODED = 100_000  # rows that are encoded at once, for Keras


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        name: printed.
        run: the trained run.
        inputs: the argument of `tfloop predict`.
        arrays: returns the same inputs as the model receives them.
        read: reads the files alone; None for an .npy file, which Keras has in memory.
    """

    name: str
    run: TrainedRun
    inputs: str
    arrays: Callable[[], np.ndarray]
    read: Callable[[], object] | None = None


def main() -> int:
    """Prints one line per case; returns 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = [*image_cases(folder, options.images), *row_cases(folder, options.rows)]
        return int(not min([measure(case, folder, options.rounds) for case in cases]))


def measure(case: Case, folder: Path, rounds: int) -> bool:
    """Prints the result of a case; returns whether it reaches the bars."""
    size, arrays = default_batch_size(case.run), case.arrays()
    model = keras_model(case.run)
    model.predict(arrays[: 3 * size], batch_size=size, verbose=0)  # compiles
    ours, theirs = [], []
    growth = predict_with_tfloop(case, folder, size)
    for _ in range(rounds):
        ours.append(seconds(lambda: predict_with_tfloop(case, folder, size)))
        reading = seconds(case.read) if case.read else 0.0
        theirs.append(reading + seconds(lambda: model.predict(arrays, batch_size=size, verbose=0)))
    ratio = median(theirs[number] / ours[number] for number in range(rounds))
    reached = ratio >= (1 / FILE_RATIO if case.read else NPY_RATIO) and growth <= MAX_GROWTH
    print(
        f"{case.name}: {len(arrays):,} in {median(ours):.2f} s ({len(arrays) / median(ours):,.0f}/s), "
        f"{'reading and ' if case.read else ''}Keras {median(theirs):.2f} s: {ratio:.2f} times as fast; "
        f"memory grows by {growth / 2**20:.0f} MB{'' if reached else '  MISSED'}",
        flush=True,
    )
    return reached


def predict_with_tfloop(case: Case, folder: Path, size: int) -> int:
    """Predicts as the command does; returns how much the memory grows after a tenth of the inputs, in bytes."""
    columns, reader, process = ResultColumns.of(case.run), reader_of(case.run), psutil.Process()
    files, memory = reader.files([case.inputs]), []
    with PredictionFile(folder / "predictions.csv") as file:
        for one in predict(case.run, ahead(files.read(size)), size):
            file.write(columns.table(one))
            memory.append(process.memory_info().rss)
    return max(memory) - max(memory[: max(1, len(memory) // 10)])


def keras_model(run: TrainedRun) -> keras.Model:
    """Returns the model of a run as Keras has it, with Keras' own layers."""
    inputs = keras.Input(run.spec.input_shape, dtype=run.spec.input_dtype)
    scaled = keras.layers.Rescaling(1 / 255)(inputs) if run.spec.input_dtype == "uint8" else inputs
    return keras.Model(inputs, run.state.model(scaled, training=False))


def seconds(work: Callable[[], object]) -> float:
    """Returns how long a function takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def train(folder: Path, name: str, config: str) -> TrainedRun:
    """Trains a run for a few steps."""
    (folder / f"{name}.yaml").write_text(f"{config}\nepochs: 1\nmax_steps: 50\ndevice: cpu\nprecision: float32\n")
    command = ["train", f"{folder}/{name}.yaml", "--quiet", "-o", f"{folder}/{name}"]
    subprocess.run([sys.executable, "-m", "tfloop_cli", *command], check=True, stdout=subprocess.DEVNULL)
    return open_trained_run(folder / name, Console(quiet=True))


def image_cases(folder: Path, count: int) -> Iterator[Case]:
    """Yields images in an .npy file and as PNG files."""
    rng, paths = np.random.default_rng(0), []
    pixels = rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    for number, image in enumerate(pixels):
        path = folder / "images" / "ab"[number % 2] / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(image).numpy())
        paths.append(str(path))
    run = train(
        folder,
        "image_run",
        f"dataset: {{name: images, path: {folder}/images}}\nmodel: {{name: conv_net}}\nbatch_size: 64",
    )
    np.save(folder / "images.npy", pixels)
    decoder = Decoder((SIDE, SIDE, 3))

    def decode_all() -> None:
        for start in range(0, count, 1024):
            decoder.decode_all(paths[start : start + 1024])

    yield Case("images, .npy", run, f"{folder}/images.npy", lambda: pixels)
    yield Case("images, .png", run, f"{folder}/images", lambda: pixels, decode_all)


def row_cases(folder: Path, count: int) -> Iterator[Case]:
    """Yields rows of numbers in an .npy file, and rows of a table."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(count, FEATURES)).astype(np.float32)
    labels = (rows[:, 0] + rows[:, 1] > 0).astype(np.int32)
    few = min(count, 20_000)
    np.savez(folder / "few.npz", x_train=rows[:few], y_train=labels[:few], x_test=rows[:100], y_test=labels[:100])
    np.save(folder / "rows.npy", rows)
    run = train(
        folder, "row_run", f"dataset: {{name: arrays, path: {folder}/few.npz}}\nmodel: {{name: mlp}}\nbatch_size: 256"
    )
    yield Case("rows, .npy", run, f"{folder}/rows.npy", lambda: rows)
    columns = {f"x{number}": np.round(rows[:, number], 4) for number in range(FEATURES - 2)}
    columns |= {name: np.array(["red", "green", "blue"])[rng.integers(0, 3, count)] for name in ("color", "shade")}
    table = pa.table(columns)
    pyarrow.csv.write_csv(table, folder / "rows.csv")
    pyarrow.csv.write_csv(table.slice(0, few).append_column("label", pa.array(labels[:few])), folder / "train.csv")
    config = f"dataset: {{name: table, train: {folder}/train.csv, target: label, classes: true}}\nmodel: {{name: mlp}}"
    run = train(folder, "table_run", f"{config}\nbatch_size: 256")
    csv = str(folder / "rows.csv")
    pyarrow.parquet.write_table(table, folder / "rows.parquet")
    parquet = str(folder / "rows.parquet")
    read = lambda: pyarrow.parquet.read_table(parquet)  # noqa: E731
    yield Case("rows, .parquet", run, parquet, lambda: encoded(run, parquet), read)
    yield Case("rows, .csv", run, csv, lambda: encoded(run, csv), lambda: pyarrow.csv.read_csv(csv))


def encoded(run: TrainedRun, file: str) -> np.ndarray:
    """Returns the rows of a file as the model receives them."""

    def values(one: Inputs) -> np.ndarray:
        return np.asarray(one.values)

    return np.concatenate([values(one) for one in reader_of(run).files([file]).read(ENCODED)])


if __name__ == "__main__":
    sys.exit(main())
