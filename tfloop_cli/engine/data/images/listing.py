"""Lists of image files, of which there may be millions: an image needs about 100 bytes, besides its name."""

import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import overload

import numpy as np

_NO_CELLS = MappingProxyType[str, str]({})


@dataclass(frozen=True, slots=True)
class Listed:
    """An image file before the classes are known.

    Attributes:
        path: of the file.
        name: relative to the folder of the split, with `/`.
        bytes: its size.
        time: its modification time, nanoseconds since 1970.
        label: its class.
        cells: of its row in a table of labels: name of a column -> its text.
    """

    path: str
    name: str
    bytes: int
    time: int
    label: str = ""
    cells: Mapping[str, str] = field(default_factory=lambda: _NO_CELLS)


class Listing:
    """Image files in order, as columns; an item is a `Listed` of its own.

    Args:
        folder: of the split. A path that is not the folder and the name is kept.
        images: the first ones.

    Attributes:
        names: see `Listed`, as the others.
        sizes: int64.
        times: int64.
    """

    def __init__(self, folder: Path, images: Iterable[Listed] = ()) -> None:
        self._start = os.path.join(folder, "")
        self.names, self._labels = list[str](), list[str]()
        self.sizes, self.times = array("q"), array("q")
        self._paths: dict[int, str] = {}
        self._cells: dict[int, Mapping[str, str]] = {}
        self.extend(images)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> Listed:
        size, time, label = self.sizes[number], self.times[number], self._labels[number]
        return Listed(self.path(number), self.names[number], size, time, label, self._cells.get(number, _NO_CELLS))

    def __iter__(self) -> Iterator[Listed]:
        return map(self.__getitem__, range(len(self)))

    def path(self, number: int) -> str:
        """Returns the path of an image."""
        return self._paths.get(number) or f"{self._start}{self.names[number]}"

    def extend(self, images: Iterable[Listed]) -> None:
        """Appends images."""
        for number, one in enumerate(images, start=len(self)):
            if one.path != f"{self._start}{one.name}":
                self._paths[number] = one.path
            if one.cells:
                self._cells[number] = one.cells
            self.names.append(one.name)
            self._labels.append(one.label)
            self.sizes.append(one.bytes)
            self.times.append(one.time)

    def subset(self, numbers: Iterable[int]) -> "Listing":
        """Returns the images with these indices."""
        return Listing(Path(self._start), map(self.__getitem__, numbers))


@dataclass(frozen=True)
class Paths(Sequence[str]):
    """The paths of images; each is made when it is used.

    Attributes:
        images: whose paths they are.
        numbers: of the images, in order.
    """

    images: Listing
    numbers: range | np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, chosen: int) -> str: ...
    @overload
    def __getitem__(self, chosen: slice) -> "Paths": ...
    def __getitem__(self, chosen: int | slice) -> "str | Paths":
        if isinstance(chosen, slice):
            return Paths(self.images, self.numbers[chosen])
        return self.images.path(int(self.numbers[chosen]))


@dataclass(frozen=True)
class Files:
    """The images of a split, with the number of their classes.

    Attributes:
        images: in order.
        labels: int32 [images].
        columns: of a table of labels, those that examples are held out by: name -> one text per image.
    """

    images: Listing
    labels: np.ndarray
    columns: Mapping[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def paths(self) -> Paths:
        """The path of each image."""
        return Paths(self.images, range(len(self)))

    def subset(self, numbers: Sequence[int]) -> "Files":
        """Returns the images with these indices."""
        columns = {name: [values[number] for number in numbers] for name, values in self.columns.items()}
        return Files(self.images.subset(numbers), self.labels[numbers], columns)
