"""Profiles a training step: milliseconds per kind of operation (see docs/optimization-notes.md).

    python benchmarks/profile_step.py mnist.yaml [--steps 100] [--set KEY=VALUE ...]

The times are those of TensorFlow's profiler, summed over all threads.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfloop_cli.config.loading import load
from tfloop_cli.engine import loop, runtime
from tfloop_cli.engine.data import build_data
from tfloop_cli.engine.profiling import milliseconds_by_kind
from tfloop_cli.engine.training.setup import create_state
from tfloop_cli.registry import models, tasks

import tensorflow as tf  # isort: skip


def main() -> None:
    """Profiles some warm steps and prints the milliseconds per step for each kind of operation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()

    config = runtime.setup(load([options.config], sets=options.set).config)
    data = build_data(config)
    task = tasks.build(config.task, data.spec)
    state = create_state(models.build(config.model, data.spec), task, data.spec, config, 1)
    # The profiler does not support the single-threaded executor.
    run = loop.compile_steps(task, state, config, single_threaded=False)
    batches = data.batch_iterator(0, 10 * options.steps)
    options.steps = min(options.steps, data.steps_per_epoch)
    count = tf.constant(options.steps, tf.int32)
    batches.set_epoch(0)
    run(batches.batches, count)  # traces and warms up
    started = time.perf_counter()
    batches.seek(0)
    run(batches.batches, count)
    unprofiled = (time.perf_counter() - started) / options.steps * 1e3
    with tempfile.TemporaryDirectory() as folder:
        batches.seek(0)
        with tf.profiler.experimental.Profile(folder):
            run(batches.batches, count)
        spent = milliseconds_by_kind(next(Path(folder).rglob("*.xplane.pb")))
    print(f"{unprofiled:.2f} ms per step without the profiler")
    for name, milliseconds in spent.most_common(25):
        print(f"{milliseconds / options.steps:8.3f} ms  {name}")


if __name__ == "__main__":
    main()
