"""Compares epochs of a config without a tracker, with TensorBoard, and with MLflow on a server that never answers.

    python benchmarks/tracking.py [--rounds 3] [--epochs 6] [--config mnist.yaml]

Each round trains once with each choice, in turn, so that all of them see the same machine; the order changes from round to
round. An epoch is timed from outside, between two lines of metrics.jsonl. The first epoch has the compilation, and is
compared too, because the processes of the trackers start in it. The ratio is that of the sums over all epochs of a pair;
the bar is 1.01. Needs mlflow-skinny for the last choice, which is skipped without it.
"""

import argparse
import importlib.util
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from measurement import Measurement, TrainingCommand, measure_rounds, tfloop

BASELINE = "no tracker"


def main() -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="pairs of trainings for each tracker")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--config", default="mnist.yaml")
    options = parser.parse_args()
    with silent_server() as port:
        commands = choices(options.config, port)
        found = measure_rounds(commands, options.rounds, options.epochs, lambda line: print(line, file=sys.stderr))
    report(found)
    return 0 if set(found) == set(commands) else 1


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
