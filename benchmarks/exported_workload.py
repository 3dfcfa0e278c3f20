"""Shared by the scripts of all frameworks. It requires only NumPy, so that it runs in any environment."""

import argparse
import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ExportedWorkload:
    """A workload as `export_workload.py` writes it.

    Attributes:
        config: the resolved config, as plain data.
        arrays: `train_inputs`, `train_targets`, `test_inputs` and `test_targets`; images are uint8 or float32
            [examples, height, width, channels].
        weights: the initial weights of the Keras model, layer by layer.
    """

    config: dict[str, Any]
    arrays: dict[str, np.ndarray]
    weights: list[np.ndarray]


def read(path: str) -> ExportedWorkload:
    """Reads a file of `export_workload.py`."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    config = json.loads(str(arrays.pop("config")))
    count = sum(name.startswith("weight_") for name in arrays)
    return ExportedWorkload(config, arrays, [arrays.pop(f"weight_{number}") for number in range(count)])


def parse_arguments(description: str, **flags: str) -> argparse.Namespace:
    """Parses the command line of a script that trains on an exported workload.

    Args:
        description: the script's docstring.
        flags: name -> help text of further flags.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a file that export_workload.py wrote")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    for name, text in flags.items():
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=text)
    return parser.parse_args()


def emit(event: str, **values: object) -> None:
    """Prints one JSON document on one line, as `tfloop train --json` does."""
    print(json.dumps({"event": event, **values}), flush=True)


class EpochTimer:
    """Times epochs and prints one JSON document per epoch. The first epoch starts when the timer is created.

    Args:
        examples: per epoch.
    """

    def __init__(self, examples: int) -> None:
        self._examples, self._number = examples, 0
        self.start()

    def start(self) -> None:
        """Starts the current epoch again; the time before is not counted."""
        self._started = time.perf_counter()

    def stop(self) -> None:
        """Prints the document of the current epoch, and starts the next one."""
        seconds, self._number = time.perf_counter() - self._started, self._number + 1
        rate = self._examples / seconds
        emit("epoch", epoch=self._number, train_seconds=seconds, validation_seconds=0.0, examples_per_second=rate)
        self.start()
