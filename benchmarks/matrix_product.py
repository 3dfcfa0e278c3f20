"""Measures the fastest matrix product of this machine: float32, 2048 x 2048. Prints one JSON document.

python benchmarks/matrix_product.py [--seconds 2]
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import exported_workload
import tensorflow as tf

SIDE = 2048


def main() -> None:
    """Multiplies repeatedly for some seconds, and prints the rate of the fastest product."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()

    matrix = tf.random.normal([SIDE, SIDE])
    best, end = float("inf"), time.perf_counter() + options.seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
        best = min(best, time.perf_counter() - started)
    exported_workload.emit("matrix_product", gflops=2 * SIDE**3 / best / 1e9)


if __name__ == "__main__":
    main()
