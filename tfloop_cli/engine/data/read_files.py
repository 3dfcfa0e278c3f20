"""The files and rows that each split is read from. A run keeps them, to find its examples in data that has grown.

They are where to look. Whether the examples are those of training is decided by the fingerprint of the data.
"""

import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import numpy as np

MAX_BLOCKS = 256  # of examples, each with a checksum
_SHOWN = 3  # files or phrases in a message
Place = Callable[[int], tuple[str, int | None]]  # returns file and line of an example


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split, in order.

    Attributes:
        names: relative to the folder that has all of them, with `/`.
        rows: the number of rows of each file; () if a file is one example.
        sizes: bytes of each file, if they stand for its content; else ().
        checksums: of blocks of examples, see `checksums_of`; () for none.
    """

    names: tuple[str, ...]
    rows: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    checksums: tuple[int, ...] = ()

    def to_json(self) -> dict[str, list[Any]]:
        """Returns the attributes as an object of JSON, without those that are empty."""
        return {key: list(values) for key, values in vars(self).items() if values}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Returns what `to_json` has described; raises KeyError, TypeError, ValueError or AttributeError if damaged."""
        numbers = [tuple(map(int, document.get(key, ()))) for key in ("rows", "sizes", "checksums")]
        found = cls(tuple(map(str, document["names"])), *numbers)
        if any(len(one) not in (0, len(found.names)) for one in numbers[:2]):
            raise ValueError("there is not one number per file")
        return found


@dataclass
class ReadFiles:
    """The files that a dataset is read from.

    Attributes:
        trained: name of a split -> its files at training: only these are read, and as many rows of them; empty for all.
        splits: name of a split -> the files that were read.
        grown: what there is more than at training, one phrase each; it is not used.
        changed: what else is not as it was at training, one phrase each.
    """

    trained: Mapping[str, SplitFiles] = field(default_factory=dict)
    splits: dict[str, SplitFiles] = field(default_factory=dict)
    grown: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """One line for the user if there is more than at training."""
        return [f"more data than at training, which is not used: {phrases(self.grown)}"] if self.grown else []

    def choose(self, split: str, names: Sequence[str], sizes: Sequence[int] = ()) -> list[int]:
        """Returns which files are read, as indices in the order of training; all of them if that is not known.

        Args:
            split: its name.
            names: of the files that there are: absolute, or relative to a folder.
            sizes: see `SplitFiles`.
        """
        relative, known = _relative(names), self.trained.get(split)
        found = _positions(known.names, names, relative) if known else []
        chosen = [one for one in found if one is not None]
        if known is None or not chosen:
            self.changed += [f"no file of the {split} split has the same name"] if known else []
            self.splits[split] = SplitFiles(tuple(relative), (), tuple(sizes))
            return list(range(len(names)))
        if missing := [name for name, one in zip(known.names, found, strict=True) if one is None]:
            self.changed.append(f"{listing(missing)} {'is' if len(missing) == 1 else 'are'} missing")
        was = dict(zip(found, known.sizes, strict=False)) if sizes else {}  # the number of a file -> its bytes
        self.changed += [
            f"`{relative[one]}` has {sizes[one]:,} bytes, {was[one]:,} then"
            for one in chosen
            if one in was and was[one] != sizes[one]
        ]
        if new := sorted(set(range(len(names))).difference(chosen)):
            more = "1 file more" if len(new) == 1 else f"{len(new):,} files more"
            self.grown.append(f"{split} has {more} ({listing([relative[one] for one in new])})")
        self.splits[split] = known
        return chosen

    def limit(self, split: str, names: Sequence[str], rows: Sequence[int]) -> list[int]:
        """Returns how many rows are used of each file that was chosen: as many as at training.

        Args:
            split: its name.
            names: of the files, for messages.
            rows: the number of rows that each of them has.
        """
        files = self.splits[split]
        if len(files.rows) != len(rows):  # the files are not those of training
            self.splits[split] = SplitFiles(files.names, tuple(rows))
            return list(rows)
        for name, now, then in zip(names, rows, files.rows, strict=True):
            if now > then:
                self.grown.append(f"{name} has {_rows(now - then)} more")
            elif now < then:
                self.changed.append(f"{name} has {_rows(now)}, {then:,} then")
        return [min(pair) for pair in zip(rows, files.rows, strict=True)]

    def check(
        self, split: str, examples: int, arrays: Sequence[tuple[np.ndarray, np.ndarray | None]], place: Place
    ) -> None:
        """Compares the examples of a split with those at training, and keeps their checksums.

        Args:
            split: its name.
            examples: their number.
            arrays: see `checksums_of`.
            place: returns file and line of an example.
        """
        if (files := self.splits.get(split)) is None:
            return
        now, then = checksums_of(examples, arrays), files.checksums
        differing = [number for number, pair in enumerate(zip(now, then, strict=False)) if pair[0] != pair[1]]
        if then and now != then and not self.changed:
            self.changed.append(_difference(differing, len(now), len(then), _bounds(examples), place))
        self.splits[split] = SplitFiles(files.names, files.rows, files.sizes, now)

    def restore(self, documents: Mapping[str, Any]) -> bool:
        """Uses the files of cached data, as `to_json` has them; returns False if they are not those of training."""
        found = from_json(documents)
        same = all(one.rows == found[split].rows for split, one in self.trained.items() if split in found)
        if same and found.keys() >= self.trained.keys():
            self.splits = found
            return True
        return False

    def to_json(self) -> dict[str, Any]:
        """Returns what was read: name of a split -> `SplitFiles.to_json`."""
        return {split: files.to_json() for split, files in self.splits.items()}


def from_json(documents: Mapping[str, Any]) -> dict[str, SplitFiles]:
    """Returns what `ReadFiles.to_json` has described; {} if it is damaged."""
    try:
        return {split: SplitFiles.from_json(one) for split, one in documents.items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return {}


def checksums_of(examples: int, arrays: Sequence[tuple[np.ndarray, np.ndarray | None]]) -> tuple[int, ...]:
    """Returns one checksum (CRC-32) per block of examples; a block is one example if there are few.

    Args:
        examples: their number.
        arrays: values with one row per example and None; or values of any number per example, and where each example
            begins in them, [examples + 1].
    """
    bounds, checksums = _bounds(examples), []
    for first, last in pairwise(bounds):
        checksum = 0
        for values, starts in arrays:
            start, stop = (first, last) if starts is None else (int(starts[first]), int(starts[last]))
            checksum = zlib.crc32(np.ascontiguousarray(values[start:stop]), checksum)
        checksums.append(checksum)
    return tuple(checksums)


def phrases(found: Sequence[str]) -> str:
    """Returns the first phrases for a message, and how many more there are."""
    more = len(found) - _SHOWN
    return ", ".join(found[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def listing(names: Sequence[str]) -> str:
    """Returns the first names for a message, and how many more there are."""
    return phrases([f"`{name}`" for name in names])


def _bounds(examples: int) -> list[int]:
    """Returns where each block of examples begins, and where the last one ends."""
    bounds: list[int] = np.linspace(0, examples, min(examples, MAX_BLOCKS) + 1).astype(np.int64).tolist()
    return bounds


def _difference(differing: Sequence[int], now: int, then: int, bounds: Sequence[int], place: Place) -> str:
    """Returns what differs between blocks of examples, whose numbers are `now` and `then`."""
    if not differing:
        return "another number of its rows can be used"
    if len(differing) == min(now, then) > 1:
        return "all rows differ"
    ends = sorted({bounds[differing[0]], bounds[differing[0] + 1] - 1})
    places = [f"{file}:{line}" if line else file for file, line in map(place, ends)]
    return f"{' or a row until '.join(places)} has changed"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _relative(names: Sequence[str]) -> list[str]:
    """Returns absolute names relative to the folder that has all of them; others are relative already."""
    if not names or not all(map(os.path.isabs, names)):
        return list(names)
    folder = os.path.commonpath({os.path.dirname(name) for name in names})  # noqa: PTH120
    return [os.path.relpath(name, folder) for name in names]


def _positions(known: Sequence[str], names: Sequence[str], relative: Sequence[str]) -> list[int | None]:
    """Returns where each known file is now; None if it is missing. A single file may have any name.

    Of absolute names the last parts count: new files may be in other folders than the known ones.
    """
    if len(known) == len(names) == 1:
        return [0]
    places = defaultdict(list)
    for number in reversed(range(len(names))):
        places[relative[number]].append(number)
    found = [places[name].pop() if places.get(name) else None for name in known]
    if None not in found or not any(map(os.path.isabs, names)):
        return found
    ends = defaultdict(list)
    for number in reversed(range(len(names))):
        ends[os.path.basename(names[number])].append(number)  # noqa: PTH119
    return [next((n for n in ends[os.path.basename(name)] if names[n].endswith(f"/{name}")), None) for name in known]  # noqa: PTH119
