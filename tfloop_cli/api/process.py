"""Runs a part of tfloop inside of a Python program, and restores the state of the process afterwards."""

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from tfloop_cli.commands.shared import loading_tensorflow
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.terminal.console import Console

if TYPE_CHECKING:
    from tfloop_cli.engine.data import Dataset

VARIABLES = ("TF_CPP_MIN_LOG_LEVEL", "TFLOOP_OFFLINE")  # that tfloop sets

_ONE_AT_A_TIME = threading.RLock()  # Keras' settings and the random generators belong to the process


class ApiConsole(Console):
    """Prints messages and progress to stderr, and nothing to stdout: results are return values.

    Args:
        progress: whether to print more than warnings.
    """

    def __init__(self, progress: bool) -> None:
        super().__init__(quiet=not progress)

    def result(self, text: str) -> None:
        """Prints a result as a message."""
        self.info(text)


@contextmanager
def in_this_process(
    console: Console, data: "Dataset | Mapping[str, Sequence[Any]] | None" = None
) -> "Iterator[Dataset | None]":
    """A context in which tfloop may use TensorFlow; its value is the dataset `in_memory`.

    Afterwards the settings of Keras, the random generators, and the environment variables are as before. Another thread
    waits until this one leaves the context.

    Args:
        console: shows that TensorFlow is loaded.
        data: the dataset, or its splits as in `from_arrays`; None for none.
    """
    with _ONE_AT_A_TIME:
        yield from _in_this_process(console, data)


def _in_this_process(
    console: Console, data: "Dataset | Mapping[str, Sequence[Any]] | None"
) -> "Iterator[Dataset | None]":
    variables = {name: os.environ.get(name) for name in VARIABLES}
    try:
        with nullcontext() if "tensorflow" in sys.modules else loading_tensorflow(console, False, False):
            from tfloop_cli.engine.data import Dataset, from_arrays
            from tfloop_cli.engine.data.given import use_dataset
            from tfloop_cli.engine.process_state import keep_process_state
        dataset = from_arrays(data) if isinstance(data, Mapping) else data
        if not isinstance(dataset, Dataset | None):
            raise TfloopError(
                f"`data` is a {type(data).__name__}, and has to be a dict of splits or a `Dataset`",
                hint='such as `data={"train": (x, y)}`', code=ExitCode.DATA,
            )  # fmt: skip
        with keep_process_state(), use_dataset(dataset):
            yield dataset
    finally:
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
