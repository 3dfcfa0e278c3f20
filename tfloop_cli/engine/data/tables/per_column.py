"""Work on the columns of a table, several at once: NumPy and Arrow release Python's lock."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tfloop_cli.hardware import cores

T = TypeVar("T")
MAX_THREADS = 4  # each has the values of a column several times in memory


def in_threads(function: Callable[..., T], *arguments: Iterable[Any]) -> list[T]:
    """Returns the results for each tuple of arguments, in order, until the shortest iterable ends.

    Raises the first exception in that order. The function must not use context variables.
    """
    with ThreadPoolExecutor(min(cores(), MAX_THREADS), thread_name_prefix="columns") as pool:
        return list(pool.map(function, *arguments))
