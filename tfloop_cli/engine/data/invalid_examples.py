"""Invalid examples, which cannot be read or used: the first one ends the run, or all are skipped and counted.

Which examples are invalid depends on the data alone and is known before the first step, so that a batch is a function
of the step, and a resumed run has the same batches. The builder of a dataset calls `skip_example` or `keep_valid`;
`build_data` decides what happens.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from tfloop_cli.errors import ExitCode, TfloopError

Item = TypeVar("Item")
MAX_PLACES = 10_000  # of invalid examples of a split that are remembered
Skipped = tuple[int, str, Sequence[str]]  # number of examples, what is wrong with the first one, places


@dataclass
class InvalidExamples:
    """The invalid examples that were found while a dataset was built.

    Attributes:
        skip: whether invalid examples are skipped; otherwise the first one is an error.
        counts: name of a split -> number of skipped examples.
        reasons: name of a split -> what is wrong with the first of them.
        places: name of a split -> file and line of each that is known, at most `MAX_PLACES`.
        supported: whether the dataset's builder supports skipping.
    """

    skip: bool
    counts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)
    supported: bool = False

    def messages(self) -> list[str]:
        """Returns one line for each split with skipped examples."""
        lines = []
        for split, count in self.counts.items():
            what = f"{count:,} invalid examples skipped; the first" if count > 1 else "1 invalid example skipped"
            lines.append(f"{split}: {what}: {self.reasons[split]}")
        return lines


_CURRENT: ContextVar[InvalidExamples | None] = ContextVar("invalid_examples", default=None)


@contextmanager
def collect_invalid_examples(skip: bool) -> Iterator[InvalidExamples]:
    """A context in which a dataset is built; its value collects what is skipped."""
    found = InvalidExamples(skip)
    token = _CURRENT.set(found)
    try:
        yield found
    finally:
        _CURRENT.reset(token)


def skips_invalid_examples() -> bool:
    """Whether invalid examples are skipped. A builder that calls this declares that it supports skipping."""
    current = _CURRENT.get()
    if current is None:
        return False
    current.supported = True
    return current.skip


def skip_example(split: str, error: TfloopError, count: int = 1, places: Sequence[str] = ()) -> None:
    """Counts an invalid example of a split if such examples are skipped; otherwise raises `error`.

    Args:
        split: the name of the split.
        error: what is wrong with the example.
        count: number of examples, if there are several.
        places: where they are, if they are known; else that of the error.
    """
    if not skips_invalid_examples():
        raise error
    count_skipped(split, error, count, places)


def count_skipped(split: str, error: TfloopError, count: int, places: Sequence[str] = ()) -> None:
    """Counts examples that are left out whether or not invalid examples are skipped: rows without a target.

    Args:
        split: the name of the split.
        error: what is wrong with the first of them.
        count: their number.
        places: see `skip_example`.
    """
    current = _CURRENT.get()
    if current is not None:
        current.counts[split] = current.counts.get(split, 0) + count
        current.reasons.setdefault(split, str(error).splitlines()[0])
        known = current.places.setdefault(split, [])
        known += (places or [error.problems[0].place or current.reasons[split]])[: MAX_PLACES - len(known)]


def skipped_examples() -> dict[str, Skipped]:
    """Returns what was skipped so far in each split."""
    current = _CURRENT.get() or InvalidExamples(skip=False)
    return {split: (count, current.reasons[split], current.places[split]) for split, count in current.counts.items()}


def restore_skipped(skipped: Mapping[str, Skipped]) -> None:
    """Counts what was skipped when data was read that is now in the cache."""
    for split, (count, reason, *places) in skipped.items():  # older versions of tfloop stored no places
        count_skipped(split, TfloopError(reason), count, *places)


def keep_valid(split: str, items: Iterable[Item], check: Callable[[Item], object]) -> list[Item]:
    """Returns the items for which `check` raises no TfloopError; the others are skipped.

    Raises:
        TfloopError: an item is invalid and such examples are not skipped, or all are invalid (exit code 4).
    """
    valid: list[Item] = []
    for item in items:
        try:
            check(item)
        except TfloopError as error:
            skip_example(split, error)
        else:
            valid.append(item)
    require_valid_examples(split, len(valid))
    return valid


def require_valid_examples(split: str, count: int) -> None:
    """Raises TfloopError (exit code 4) if a split has no valid example."""
    current = _CURRENT.get()
    if current is not None and not count and split in current.counts:
        raise TfloopError(
            f"split `{split}`: all of its {current.counts[split]:,} examples are invalid; the first: "
            f"{current.reasons[split]}",
            code=ExitCode.DATA,
        )
