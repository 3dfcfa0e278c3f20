"""Reports how far slow work on a dataset is. The screen is not known here: `collect_progress` receives it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import numpy as np

Progress = Callable[[str, int, int], None]
"""Receives a description of the work, and how many of how many items are done: 0 of n first, n of n at the end."""

Block = TypeVar("Block", bound=np.ndarray)
_CURRENT: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def collect_progress(report: Progress) -> Iterator[None]:
    """A context in which a dataset is built; `report` is called as work proceeds."""
    token = _CURRENT.set(report)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def report_progress(text: str, total: int, blocks: Iterator[Block]) -> Iterator[Block]:
    """Yields the blocks, and reports after each how many rows are done.

    Args:
        text: describes the work.
        total: rows in all blocks.
        blocks: arrays of rows.
    """
    report, done = _CURRENT.get() or (lambda text, done, total: None), 0
    report(text, 0, total)
    try:
        for block in blocks:
            yield block
            done += len(block)
            report(text, done, total)
    finally:
        report(text, total, total)  # also after an error, so that the screen is left in order
