"""What the scripts of every framework share; needs numpy only, so that it runs in any environment."""

import argparse
import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Exported:
    """A workload as `export_workload.py` writes it.

    Attributes:
        config: the resolved config, as plain data.
        arrays: `train_inputs`, `train_targets`, `test_inputs` and `test_targets`; images are uint8 or float32
            [examples, height, width, channels].
        weights: the model's first weights as Keras draws them, layer by layer.
    """

    config: dict[str, Any]
    arrays: dict[str, np.ndarray]
    weights: list[np.ndarray]


def read(path: str) -> Exported:
    """Opens what `export_workload.py` wrote."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    config = json.loads(str(arrays.pop("config")))
    count = sum(name.startswith("weight_") for name in arrays)
    return Exported(config, arrays, [arrays.pop(f"weight_{number}") for number in range(count)])


def options(description: str, **flags: str) -> argparse.Namespace:
    """The command line of a script that trains on an exported workload.

    Args:
        description: the script's docstring.
        flags: name and help of further switches.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a file that export_workload.py wrote")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    for name, text in flags.items():
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=text)
    return parser.parse_args()


def tell(event: str, **facts: object) -> None:
    """One JSON document, as `tfloop train --json` prints it."""
    print(json.dumps({"event": event, **facts}), flush=True)


class Epochs:
    """Tells of an epoch that began when this was made, or when the last one was told of."""

    def __init__(self, examples: int) -> None:
        self._examples, self._number = examples, 0
        self.begin()

    def begin(self) -> None:
        """What went before does not count."""
        self._started = time.perf_counter()

    def done(self) -> None:
        """Prints the epoch's line."""
        seconds, self._number = time.perf_counter() - self._started, self._number + 1
        rate = self._examples / seconds
        tell("epoch", epoch=self._number, train_seconds=seconds, validation_seconds=0.0, examples_per_second=rate)
        self.begin()
