"""Compares epochs of a config without a tracker, with TensorBoard, and with MLflow on a server that never answers.

    python benchmarks/tracking.py [--rounds 3] [--epochs 6] [--config mnist.yaml]

First, in a process with TensorFlow, what the training thread itself does for a tracker is timed: it starts a process
once, and wakes it after each epoch. A loaded machine hardly changes that.

Then each round trains once with each choice, in turn, so that all of them see the same machine; the order changes from
round to round. An epoch is timed from outside, between two lines of metrics.jsonl. The first epoch is compared too, as
the processes of the trackers start in it. The ratio is that of the sums over all epochs of a pair. The bar is 1.01, for
which the machine must be idle. The last choice needs mlflow-skinny, and is skipped without it.
"""

import argparse
import importlib.util
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from measurement import Measurement, TrainingCommand, measure_rounds, tfloop

BASELINE = "no tracker"
CALLS = 200


def main() -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="pairs of trainings for each tracker")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--config", default="mnist.yaml")
    options = parser.parse_args()
    with silent_server() as port:
        time_calls(port)
        commands = choices(options.config, port)
        found = measure_rounds(commands, options.rounds, options.epochs, lambda line: print(line, file=sys.stderr))
    report(found)
    return 0 if set(found) == set(commands) else 1


def time_calls(port: int) -> None:
    """Prints what a tracker costs the training thread."""
    import tensorflow as tf

    from tfloop_cli.events import EpochDone, Progress, RunEnded
    from tfloop_cli.registry import Component
    from tfloop_cli.runs.folder import RunFolder
    from tfloop_cli.tracking.children import Trackers

    tf.zeros(1)  # starts its threads
    mlflow = Component("mlflow", {"uri": f"http://127.0.0.1:{port}"})
    for component in (Component("tensorboard"), *([mlflow] if importlib.util.find_spec("mlflow") else [])):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.yaml").write_text("epochs: 1\n")
            trackers, seconds = Trackers(RunFolder(Path(folder)), [component], [], print, print), []
            for event in (Progress(1, 1, 1, {}, 1.0), *[EpochDone(1, 1, {}, None, 1.0, 0.0, 1.0)] * CALLS):
                started = time.perf_counter()
                trackers.handle(event)
                seconds.append(time.perf_counter() - started)
                time.sleep(0.01)
            trackers.handle(RunEnded("SIGTERM", "", "", "", 1.0))  # waits a few seconds only
            with trackers:
                start, calls = seconds[0], sorted(seconds[1:])
            print(f"{component.name}: start {1e3 * start:.1f} ms, epoch {1e6 * calls[CALLS // 2]:.0f} us")


def choices(config: str, port: int) -> dict[str, TrainingCommand]:
    """Returns the commands to compare by name."""
    made = {BASELINE: tfloop(config), "tensorboard": tfloop(config, "tracking=[tensorboard]")}
    if importlib.util.find_spec("mlflow"):
        tracking = f'tracking=[{{name: mlflow, uri: "http://127.0.0.1:{port}"}}]'
        made["mlflow, dead server"] = tfloop(config, tracking)
    else:
        print("mlflow is not installed: `pip install mlflow-skinny`", file=sys.stderr)
    return made


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that accepts connections and never answers; yields its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        kept: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    kept.append(server.accept()[0])
            except OSError:  # closed
                return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        for one in kept:
            one.close()


def report(found: dict[str, list[Measurement]]) -> None:
    """Prints seconds and ratios: of all epochs, and of those after the first."""
    print(f"{'tracker':<22}{'seconds/epoch':>14}{'all epochs':>12}{'after first':>13}   ratios of the rounds")
    baseline = found[BASELINE]
    for name, rounds in found.items():
        pairs = list(zip(rounds, baseline, strict=True))
        all_epochs = [sum(one.epoch_seconds) / sum(other.epoch_seconds) for one, other in pairs]
        later = [sum(one.epoch_seconds[1:]) / sum(other.epoch_seconds[1:]) for one, other in pairs]
        seconds = median(median(one.epoch_seconds[1:]) for one in rounds)
        ratios = " ".join(f"{ratio:.3f}" for ratio in all_epochs)
        print(f"{name:<22}{seconds:>14.3f}{median(all_epochs):>12.3f}{median(later):>13.3f}   {ratios}")


if __name__ == "__main__":
    sys.exit(main())
