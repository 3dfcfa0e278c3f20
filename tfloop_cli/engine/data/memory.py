"""Refuses data that cannot fit into memory before it is made: the system would kill the process without a message."""

import psutil

from tfloop_cli.errors import TfloopError


def require_memory(needed: float, dataset: str) -> None:
    """Raises TfloopError (exit code 2) if a dataset whose arguments decide its size needs more than the machine has.

    Args:
        needed: bytes, at least.
        dataset: its name.
    """
    total = psutil.virtual_memory().total
    if needed > total:
        raise TfloopError(
            f"the dataset `{dataset}` needs {needed / 2**30:,.0f} GiB of memory, and this machine has "
            f"{total / 2**30:,.0f} GiB",
            hint="use fewer examples, or smaller ones",
        )
