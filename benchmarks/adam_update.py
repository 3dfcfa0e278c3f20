"""Measures one update of Adam, float32: Keras' own, fused with TensorFlow's operations, and the C++ operation.

    python benchmarks/adam_update.py [--sizes 1000 216320 2000000] [--rounds 7]

The three take turns, `UPDATES` updates in one compiled loop each time, on two threads. Prints medians of the rounds in
microseconds per update of one variable.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels import KernelSettings, native
from tfloop_cli.engine.kernels.settings import use_settings
from tfloop_cli.engine.optimizers.fused import fuse

UPDATES = 200


def updates(size: int, *, fused: bool, threads: int) -> Callable[[], object]:
    """Returns a compiled function that updates a variable of `size` elements `UPDATES` times."""
    variable, optimizer = keras.Variable(tf.random.normal([size])), keras.optimizers.Adam(1e-3)
    optimizer.build([variable])
    if fused:
        fuse(optimizer)
    gradient = tf.random.normal([size])

    @tf.function
    def run() -> None:
        with use_settings(KernelSettings(enabled=True, native_threads=threads)):
            for _ in tf.range(UPDATES):
                optimizer.apply([gradient], [variable])

    return run


def main() -> None:
    """Prints one row per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 216_320, 2_000_000])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if reason := native.unavailable_reason():
        raise SystemExit(reason)

    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    print(f"{'elements':>10}  {'Keras':>8}  {'TensorFlow':>10}  {'C++':>8}")
    for size in options.sizes:
        kinds = [updates(size, fused=fused, threads=threads) for fused, threads in ((False, 0), (True, 0), (True, 2))]
        times: list[list[float]] = [[] for _ in kinds]
        for number in range(options.rounds + 1):
            for own, run in zip(times, kinds, strict=True):
                started = time.perf_counter()
                run()
                if number:  # the first one traces
                    own.append((time.perf_counter() - started) / UPDATES * 1e6)
        plain, fused, cpp = (statistics.median(own) for own in times)
        print(f"{size:>10,}  {plain:>8.0f}  {fused:>10.0f}  {cpp:>8.0f}", flush=True)


if __name__ == "__main__":
    main()
