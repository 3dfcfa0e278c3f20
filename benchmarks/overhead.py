"""Measures the overhead of display and recorder: epochs of one loop with and without them, in turns.

    python benchmarks/overhead.py [mnist.yaml] [--pairs 30] [--set KEY=VALUE ...]

All epochs run in one process and one loop. They differ only in whether the progress bar is drawn on a pseudo-terminal
and the history is written. `python -m benchmarks.durability cost` measures the overhead of checkpoints.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfloop_cli.__main__ import MALLOC_SETTINGS
from tfloop_cli.config.loading import load
from tfloop_cli.engine import runtime
from tfloop_cli.engine.data import build_data
from tfloop_cli.engine.loop import fit
from tfloop_cli.engine.start_event import start_event
from tfloop_cli.engine.training.early_stopping import BestMetric, EarlyStopping
from tfloop_cli.engine.training.setup import create_state
from tfloop_cli.events import EpochDone
from tfloop_cli.registry import models, tasks
from tfloop_cli.runs import folder as run_folders
from tfloop_cli.runs.recorder import Recorder
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.display import make_display


@contextmanager
def terminal_console() -> Iterator[Console]:
    """A context with a console on a pseudo-terminal, which another process reads as a terminal emulator does."""
    for name in ("CI", "NO_COLOR"):
        os.environ.pop(name, None)
    os.environ["TERM"] = "xterm-256color"
    controller, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (40, 120))
    reader = subprocess.Popen(["cat"], stdin=controller, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(controller)
    stderr = sys.stderr
    with os.fdopen(terminal, "w") as sys.stderr:
        try:
            yield Console()
        finally:
            sys.stderr = stderr
            reader.terminate()
            reader.wait()


def main() -> None:
    """Trains, times each epoch, and prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="mnist.yaml")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    if "GLIBC_TUNABLES" not in os.environ:
        print(f"note: `tfloop train` sets GLIBC_TUNABLES={MALLOC_SETTINGS}; it is not set in this process")

    changes = ["validation=0", *options.set, f"epochs={2 * options.pairs + 1}"]
    config = runtime.setup(load([options.config], sets=changes).config)
    data = build_data(config)
    task = tasks.build(config.task, data.spec)
    state = create_state(models.build(config.model, data.spec), task, data.spec, config, 10**6)
    epochs: dict[bool, list[float]] = {True: [], False: []}  # seconds, with and without display and recorder
    enabled, in_consumers, consumer_seconds = False, 0.0, []
    with tempfile.TemporaryDirectory() as folder, terminal_console() as console, make_display(console) as display:
        run = run_folders.create(Path(folder), "run")
        consumers = (Recorder(run, console.warn), display)
        for consumer in consumers:
            consumer.handle(start_event(run, config, data, state, []))
        started = time.perf_counter()
        for event in fit(state, data, task, config, BestMetric(task, config), EarlyStopping(task, config)):
            if enabled:
                before = time.perf_counter()
                for consumer in consumers:
                    consumer.handle(event)
                in_consumers += time.perf_counter() - before
            if isinstance(event, EpochDone):
                if event.epoch > 1:  # the first epoch includes tracing
                    epochs[enabled].append(time.perf_counter() - started)
                consumer_seconds += [in_consumers] if enabled else []
                enabled, in_consumers = event.epoch % 4 in (1, 0), 0.0  # with, without, without, with
                started = time.perf_counter()

    without, with_ = statistics.median(epochs[False]), statistics.median(epochs[True])
    ratio = statistics.median(one / other for one, other in zip(epochs[True], epochs[False], strict=True))
    own = statistics.median(consumer_seconds)
    print(f"{options.config}: {options.pairs} pairs of epochs, medians")
    print(f"{without:8.3f} s per epoch without display and recorder")
    print(f"{with_:8.3f} s per epoch with display and recorder: {ratio - 1:+.2%} (median of pairs)")
    print(f"{own * 1e3:8.1f} ms per epoch inside of display and recorder: {own / without:.2%}")


if __name__ == "__main__":
    main()
