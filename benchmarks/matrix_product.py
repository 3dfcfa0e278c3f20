"""Measures the fastest matrix product of this machine: float32, 2048 x 2048. Prints one JSON document.

python benchmarks/matrix_product.py [--seconds 2]
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import exported_workload

from tfloop_cli.engine.self_test import matrix_product


def main() -> None:
    """Multiplies repeatedly for some seconds, and prints the rate of the fastest product."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()

    exported_workload.emit("matrix_product", gflops=matrix_product(options.seconds))


if __name__ == "__main__":
    main()
