"""Examples that cannot be used: the first one ends the run, or all are left out and counted, as the config says.

Which ones are bad depends on the data alone and is known before the first step: batches keep their addresses, and a
resumed run sees the same. A dataset's builder calls `leave_out` or `kept`; `build_data` says what is to happen then.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from tfloop_cli.errors import ExitCode, TfloopError

Item = TypeVar("Item")


@dataclass
class BadExamples:
    """What was found while a dataset was opened.

    Attributes:
        skip: whether bad examples are left out; else the first one is an error.
        counts: a split's name -> how many were left out.
        reasons: a split's name -> what is wrong with the first of them.
        heeded: whether the dataset's builder has asked.
    """

    skip: bool
    counts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    heeded: bool = False

    def notes(self) -> list[str]:
        """A line for each split that has some."""
        told = {split: f"{count:,} bad example{'s' if count > 1 else ''}" for split, count in self.counts.items()}
        return [f"{text} of split `{split}` left out; the first: {self.reasons[split]}" for split, text in told.items()]


_CURRENT: ContextVar[BadExamples | None] = ContextVar("bad_examples", default=None)


@contextmanager
def opening(skip: bool) -> Iterator[BadExamples]:
    """Around the opening of a dataset: collects what is left out."""
    found = BadExamples(skip)
    token = _CURRENT.set(found)
    try:
        yield found
    finally:
        _CURRENT.reset(token)


def skipping() -> bool:
    """Whether bad examples are left out. A builder that never asks cannot leave any out, which is an error."""
    current = _CURRENT.get()
    if current is None:
        return False
    current.heeded = True
    return current.skip


def leave_out(split: str, error: TfloopError, count: int = 1) -> None:
    """Counts bad examples of a split, where they are left out; else raises `error`, which says what is wrong."""
    current = _CURRENT.get()
    if current is None or not skipping():
        raise error
    current.counts[split] = current.counts.get(split, 0) + count
    current.reasons.setdefault(split, str(error).splitlines()[0])


def kept(split: str, items: Iterable[Item], check: Callable[[Item], object]) -> list[Item]:
    """Those whose check raises no TfloopError; the others are left out.

    Raises:
        TfloopError: one is bad and they are not to be left out, or all are bad (exit code 4).
    """
    good: list[Item] = []
    for item in items:
        try:
            check(item)
        except TfloopError as error:
            leave_out(split, error)
        else:
            good.append(item)
    require_some(split, len(good))
    return good


def require_some(split: str, left: int) -> None:
    """Raises TfloopError (exit code 4) where nothing of a split is left."""
    current = _CURRENT.get()
    if current is not None and not left and split in current.counts:
        raise TfloopError(
            f"split `{split}`: all of its {current.counts[split]:,} examples are bad; the first: "
            f"{current.reasons[split]}",
            code=ExitCode.DATA,
        )
