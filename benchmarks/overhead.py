"""What display and logging cost: the loop with somebody who listens, and with nobody, epoch by epoch in turn.

    python benchmarks/overhead.py [mnist.yaml] [--pairs 30] [--set KEY=VALUE ...]

One process and one loop, so that nothing differs between two epochs but whether the screen is drawn, on a
pseudo-terminal, and the history is written. What saving costs, `python -m benchmarks.durability cost` says.
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

from tfloop_cli.__main__ import HUGE_PAGES
from tfloop_cli.config.loading import load
from tfloop_cli.engine import runtime
from tfloop_cli.engine.data import build_data
from tfloop_cli.engine.loop import fit
from tfloop_cli.engine.start_event import start_event
from tfloop_cli.engine.training.early_stopping import BestMetric, EarlyStopping
from tfloop_cli.engine.training.setup import create_state
from tfloop_cli.events import EpochDone
from tfloop_cli.registry import models, tasks
from tfloop_cli.runs.recorder import Recorder
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.display import make_display


@contextmanager
def terminal() -> Iterator[Console]:
    """A console whose stderr is a terminal, read by a process of its own as a terminal emulator would."""
    for name in ("CI", "NO_COLOR"):
        os.environ.pop(name, None)
    os.environ["TERM"] = "xterm-256color"
    screen, inside = os.openpty()
    termios.tcsetwinsize(inside, (40, 120))
    reader = subprocess.Popen(["cat"], stdin=screen, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(screen)
    own = sys.stderr
    with os.fdopen(inside, "w") as sys.stderr:
        try:
            yield Console()
        finally:
            sys.stderr = own
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
        print(f"note: `tfloop train` has GLIBC_TUNABLES={HUGE_PAGES}; this process has not")

    changes = ["validation=0", *options.set, f"epochs={2 * options.pairs + 1}"]
    config = runtime.setup(load([options.config], sets=changes).config)
    data = build_data(config)
    task = tasks.build(config.task, data.spec)
    state = create_state(models.build(config.model, data.spec), task, data.spec, config, 10**6)
    spent: dict[bool, list[float]] = {True: [], False: []}
    listening, heard, hearing = False, 0.0, []
    with tempfile.TemporaryDirectory() as folder, terminal() as console, make_display(console) as display:
        run = folder.create(Path(folder), "run", name=None, output=None)
        consumers = (Recorder(run, console), display)
        for consumer in consumers:
            consumer.handle(start_event(run, config, data, state))
        started = time.perf_counter()
        for event in fit(state, data, task, config, BestMetric(task, config), EarlyStopping(task, config)):
            if listening:
                asked = time.perf_counter()
                for consumer in consumers:
                    consumer.handle(event)
                heard += time.perf_counter() - asked
            if isinstance(event, EpochDone):
                if event.epoch > 1:  # the first one compiles
                    spent[listening].append(time.perf_counter() - started)
                hearing += [heard] if listening else []
                listening, heard = event.epoch % 4 in (1, 0), 0.0  # yes no no yes
                started = time.perf_counter()

    ratio = statistics.median(with_ / without for with_, without in zip(spent[True], spent[False], strict=True))
    print(f"{options.config}: {options.pairs} pairs of epochs, medians")
    print(f"{statistics.median(spent[False]):8.3f} s  nobody listens")
    print(f"{statistics.median(spent[True]):8.3f} s  display and recorder listen: {ratio - 1:+.2%}, pair by pair")
    share = statistics.median(hearing) / statistics.median(spent[False])
    print(f"{statistics.median(hearing) * 1e3:8.1f} ms of an epoch in them by their own time: {share:.2%}")


if __name__ == "__main__":
    main()
