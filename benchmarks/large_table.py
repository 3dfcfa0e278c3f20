"""Measures the start of a run on a table of 1,000,000 rows and 20 columns, 160 MB as .csv.

    python benchmarks/large_table.py [--rows 1000000]

Columns: 8 numbers (half of them with 2% missing), 5 whole numbers, 5 categories of 10 to 1,000 words, true or false,
and the class. Printed are the medians of the seconds of bare reading by pyarrow, and of reading and encoding by the
dataset `table`; the seconds from the start of `tfloop train` until its first step is saved, with an empty cache and a
second time; and the peak memory until then.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.csv

from tfloop_cli.runs.checkpoints import list_checkpoints

POLL_SECONDS = 0.02
ROUNDS = 5  # of reading: its times vary by a factor of two
WORDS = (10, 30, 100, 300, 1000)  # distinct values of the categories
CONFIG = """\
extends: tabular.yaml
dataset: {{name: table, train: {file}, target: label}}
checkpoint: {{every_steps: 1}}
device: cpu
"""
BARE = """\
import pyarrow.csv, sys, time
started = time.perf_counter()
pyarrow.csv.read_csv(sys.argv[1])
print(time.perf_counter() - started)
"""
ENCODE = """\
import sys, time
from tfloop_cli.engine.data.tables.building import TableOptions, build_splits
started = time.perf_counter()
build_splits({"train": sys.argv[1]}, TableOptions(("label",)))
print(time.perf_counter() - started)
"""


def main() -> None:
    """Prints one line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.csv"
        write_table(file, options.rows)
        print(f"{options.rows:,} rows, {file.stat().st_size / 1e6:.0f} MB")
        turns = [(seconds_of(BARE, file), seconds_of(ENCODE, file)) for _ in range(ROUNDS)]
        bare, encode = map(median, zip(*turns, strict=True))
        print(f"pyarrow's bare reading       {bare:6.2f} s")
        print(f"reading and encoding         {encode:6.2f} s, {encode / bare:.1f} times as long")
        (Path(folder) / "table.yaml").write_text(CONFIG.format(file=file))
        for number, name in enumerate(("first start", "second start, cached"), 1):
            seconds, peak = train(Path(folder), f"run{number}")
            print(f"{name:28} {seconds:6.2f} s until the end of the first step, peak {peak / 1e9:.2f} GB")


def write_table(file: Path, rows: int) -> None:
    """Writes the table as .csv."""
    random = np.random.default_rng(0)
    columns: dict[str, pa.Array] = {}
    signal = np.zeros(rows)
    for number in range(8):
        values = random.standard_normal(rows).round(6)
        signal += values * (number % 3)
        columns[f"float{number}"] = pa.array(values, mask=random.random(rows) < 0.02 * (number % 2))
    for number in range(5):
        columns[f"int{number}"] = pa.array(random.integers(0, 10 ** (number + 1), rows))
    for number, distinct in enumerate(WORDS):
        words = pa.array([f"word{value:05}" for value in range(distinct)])
        codes = random.integers(0, distinct, rows)
        signal += codes / distinct
        columns[f"word{number}"] = pa.DictionaryArray.from_arrays(pa.array(codes), words).cast(pa.string())
    flags = random.integers(0, 2, rows)
    columns["flag"] = pa.array(np.where(flags, "true", "false"))
    columns["label"] = pa.array(
        np.where(signal + flags + random.standard_normal(rows) > np.median(signal), "yes", "no")
    )
    pa.csv.write_csv(pa.table(columns), file, pa.csv.WriteOptions(quoting_style="none"))


def seconds_of(program: str, file: Path) -> float:
    """Returns what a program prints last."""
    command = [sys.executable, "-c", program, str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment(file.parent))
    return float(done.stdout.split()[-1])


def train(folder: Path, run: str) -> tuple[float, int]:
    """Trains until the first step is saved; returns the seconds until then, and the peak memory in bytes."""
    command = [sys.executable, "-m", "tfloop_cli", "train", "table.yaml", "--json", "--quiet", "--output", run]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder, env=environment(folder))
    while not list_checkpoints(folder / run / "checkpoints"):
        assert process.poll() is None, process.returncode
        time.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - started
    process.send_signal(signal.SIGTERM)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return seconds, usage.ru_maxrss * 1024


def environment(folder: Path) -> dict[str, str]:
    """Returns the environment of a measured process, with a cache of its own."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "TFLOOP_CACHE": str(folder / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}


if __name__ == "__main__":
    main()
