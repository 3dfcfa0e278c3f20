"""Compares tfloop's replacements and Keras' own implementations with float64: results, gradients, moving statistics.

    python -m benchmarks.exactness [--only NAME ...] [--draws 100] [--elements 10000000] [--save rows.jsonl]

Each case is a layer or an optimizer, a dtype and a shape; benchmarks/exactness_cases.py has the list. Inputs, weights
and upstream gradients are random and exact in the dtype. An error is the root mean square of the difference from
float64 over all draws and elements. A replacement passes if its error is at most 1.5 times that of Keras, or less than
1e-6 of the values (root mean square). The exit code is 1 if one fails.

The whole table takes a while. With --save, a run can be divided or interrupted: rows that the file has
are not measured again, and the table contains them. --elements leaves out larger shapes.
tests/engine/kernels/test_exactness.py runs the small shapes.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks.exactness_cases import Case, Shape, cases

MAX_RATIO, MAX_RELATIVE = 1.5, 1e-6


@dataclass(frozen=True)
class Error:
    """The errors of one result: root mean squares over all draws and elements.

    Attributes:
        result: "outputs", "gradient of inputs", "gradient of NAME", or the name of a variable that changes.
        tfloop: of the replacement.
        keras: of Keras' own implementation.
        size: the root mean square of the values in float64.
    """

    result: str
    tfloop: float
    keras: float
    size: float

    @property
    def passed(self) -> bool:
        return self.tfloop <= MAX_RATIO * self.keras or self.tfloop < MAX_RELATIVE * self.size


def compare(case: Case, dtype: str, shape: Shape, draws: int) -> list[Error]:
    """Returns the error of each result of a case."""
    measure = tf.function(case.measurement(dtype, shape), autograph=False)
    totals: dict[str, np.ndarray] = {}
    for seed in range(draws):
        for name, squares in measure(tf.constant(seed)).items():
            totals[name] = totals.get(name, 0) + squares.numpy() / draws
    return [Error(name, *np.sqrt(total).tolist()) for name, total in totals.items()]


Key = tuple[str, str, Shape]  # name of a case, dtype, shape


def measure(
    selected: list[tuple[str, Case]], draws: int, elements: int, save: Path | None
) -> Iterator[tuple[Key, Error]]:
    """Yields the errors of cases, and writes them to a file; those that it already has are not measured again."""
    saved = [json.loads(line) for line in save.read_text().splitlines()] if save and save.exists() else []
    known = {(row["case"], row["dtype"], tuple(row["shape"])): row["errors"] for row in saved if row["draws"] == draws}
    for name, case in selected:
        for dtype, shape in ((dtype, shape) for dtype in case.dtypes for shape in case.shapes):
            if math.prod(shape) > elements:
                continue
            key = name, dtype, shape
            if key in known:
                errors = [Error(**error) for error in known[key]]
            else:
                errors = compare(case, dtype, shape, draws)
                row = {"case": name, "dtype": dtype, "shape": shape, "draws": draws}
                _append(save, row | {"errors": [asdict(error) for error in errors]})
            for error in errors:
                yield key, error


def _append(path: Path | None, row: dict[str, object]) -> None:
    if path:
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")


COLUMNS = "{:32} {:9} {:20} {:26} {:>9} {:>9} {:>6} {:>9}  {}"


def line(key: Key, error: Error) -> str:
    """Returns a row of the table."""
    name, dtype, shape = key
    ratio = f"{error.tfloop / error.keras:.2f}" if error.keras else "-"
    relative = f"{error.tfloop / error.size:.1e}" if error.size else "-"
    numbers = f"{error.tfloop:.1e}", f"{error.keras:.1e}", ratio, relative
    return COLUMNS.format(name, dtype, str(shape), error.result[-26:], *numbers, "" if error.passed else "FAILED")


def main() -> int:
    """Prints the table; returns 1 if a replacement failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = cases()
    parser.add_argument("--only", nargs="*", metavar="NAME", choices=list(known), help=", ".join(known))
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--elements", type=int, default=10**7, help="the most elements of the inputs")
    parser.add_argument("--save", type=Path, help="a file of results, which later runs continue")
    options = parser.parse_args()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})  # as the training loop does
    print(COLUMNS.format("replacement", "dtype", "shape", "result", "tfloop", "Keras", "ratio", "relative", ""))
    selected = [(name, case) for name, case in known.items() if not options.only or name in options.only]
    passed = []
    for key, error in measure(selected, options.draws, options.elements, options.save):
        print(line(key, error), flush=True)
        passed.append(error.passed)
    print(f"{passed.count(True)} passed, {passed.count(False)} failed")
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main())
