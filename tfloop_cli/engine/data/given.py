"""A dataset that a Python program passes to `tfloop_cli.train(data=...)`, for the dataset `in_memory`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tfloop_cli.engine.data.spec import Dataset

GIVEN: ContextVar[Dataset | None] = ContextVar("given_dataset", default=None)


@contextmanager
def use_dataset(dataset: Dataset | None) -> Iterator[None]:
    """A context in which the dataset `in_memory` is this one."""
    token = GIVEN.set(dataset)
    try:
        yield
    finally:
        GIVEN.reset(token)
