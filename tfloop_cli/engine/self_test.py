"""A test of TensorFlow on this machine, for `tfloop doctor`, which runs it in a process of its own.

    python -m tfloop_cli.engine.self_test [SECONDS]

It prints one JSON document: devices, why the C++ operations are unavailable, and, with SECONDS, the speed of training
and of a matrix product, each measured for that time.
"""

import json
import sys
import time
from typing import Any

import tensorflow as tf

from tfloop_cli.config.loading import load
from tfloop_cli.engine.kernels import native
from tfloop_cli.engine.trial import Trial

SIDE = 2048  # of the matrices
STEPS = 25  # that are timed at once; the fastest ones count, as for matrix products
# Training steps of `mnist.yaml` per GFLOP of the matrix product: on an AMD EPYC with AVX-512, 2 cores.
STEPS_PER_GFLOP = {"native": 2.4, "tensorflow": 1.3}


def self_test(seconds: float = 0.0) -> dict[str, Any]:
    """Returns what TensorFlow finds on this machine, and how fast it is.

    Args:
        seconds: of each measurement; 0 for none.
    """
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    document: dict[str, Any] = {"gpus": names, "operations": native.unavailable_reason()}
    return document | (speed(seconds) if seconds else {})


def speed(seconds: float) -> dict[str, Any]:
    """Returns training steps per second of `mnist.yaml`, the rate of a matrix product, and the steps to expect of it.

    Args:
        seconds: of each measurement, after the training step was compiled.
    """
    config = load(["mnist"], sets=["validation=0", "test=0"]).config

    def ignore(*args: Any) -> None:
        pass

    trial = Trial.set_up(config, ignore, ignore, ignore)
    trial.run(1)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        left = trial.data.steps_per_epoch - int(trial.state.step) % trial.data.steps_per_epoch
        count = min(left, STEPS)
        best = max(best, count / trial.run(count))
    rate, on_cpu = matrix_product(seconds), trial.config.device == "cpu"
    return {
        "device": trial.config.device,
        "threads": trial.config.threads,
        "kernels": trial.config.kernels,
        "batch_size": trial.data.batch_size,
        "steps_per_second": best,
        "gflops": rate,
        "expected_steps_per_second": STEPS_PER_GFLOP[trial.config.kernels] * rate if on_cpu else None,
    }


def matrix_product(seconds: float) -> float:
    """Returns the rate of the fastest of repeated matrix products in GFLOP/s: float32, `SIDE` x `SIDE`."""
    matrix = tf.random.normal([SIDE, SIDE])
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
        best = min(best, time.perf_counter() - started)
    return 2 * SIDE**3 / best / 1e9


if __name__ == "__main__":
    print(json.dumps(self_test(float((sys.argv[1:] or ["0"])[0]))))
