"""The data that a Python program passes to `tfloop_cli.train`."""

from tfloop_cli.engine.data.given import GIVEN
from tfloop_cli.engine.data.spec import Dataset
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import datasets


@datasets.register("in_memory")
def in_memory() -> Dataset:
    """The arrays that `tfloop_cli.train(data=...)` receives in a Python program."""
    if (given := GIVEN.get()) is None:
        raise TfloopError(
            "the dataset `in_memory` is data that a Python program passes to `tfloop_cli.train(data=...)`",
            hint="pass the same data again; from the command line, use arrays in a file: `dataset: {name: arrays, "
            "path: data.npz}`",
            code=ExitCode.DATA,
        )
    return given
