"""Reads each example of a split once: its target, and a hash of what the model sees of it."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data import Data, DataSpec
from tfloop_cli.engine.data.structures import Structure, is_several, map_structure, named_values

EMPTY = 0  # the hash of a text of which no token is known
MAX_COMPARED_BYTES = 4 * 2**30  # of the inputs of all splits; larger data is not searched for duplicates
BLOCK_BYTES, MAX_BLOCK = 16 * 2**20, 8192  # of inputs, and examples, that are read at once


@dataclass(frozen=True)
class Scan:
    """A split.

    Attributes:
        targets: [examples, *target_shape], several in a structure; None if they would have to be read from large data.
        hashes: equal for examples that the model sees alike, uint64 [examples]; None if the data is too large. A text
            of which the model sees nothing has `EMPTY`.
    """

    targets: Structure | None
    hashes: np.ndarray | None = None

    @functools.cached_property
    def in_order(self) -> np.ndarray | None:
        """The hashes but `EMPTY`, sorted, uint64 [n]; None without hashes."""
        return None if self.hashes is None else np.sort(self.hashes[self.hashes != EMPTY])

    @property
    def repeated(self) -> int | None:
        """The number of examples that equal an earlier one; None without hashes."""
        return None if self.in_order is None else int(np.count_nonzero(self.in_order[1:] == self.in_order[:-1]))

    def shared(self, other: "Scan") -> np.ndarray:
        """Returns which examples are in another split too: bool [examples]; none without hashes."""
        if self.hashes is None or other.in_order is None or not len(other.in_order):
            return np.zeros(0, bool)
        positions = np.searchsorted(other.in_order, self.hashes).clip(max=len(other.in_order) - 1)
        return np.asarray((other.in_order[positions] == self.hashes) & (self.hashes != EMPTY))


def example_bytes(spec: DataSpec) -> int:
    """Returns the size of the inputs of an example, 1 for those of any length, which are in memory."""
    inputs = [one for _, one in named_values(spec.inputs)]
    sizes = [np.prod([length or 1 for length in one.shape], dtype=np.int64) for one in inputs]
    return int(sum(size * tf.as_dtype(one.dtype).size for size, one in zip(sizes, inputs, strict=True)))


def is_tabular(spec: DataSpec) -> bool:
    """Whether examples are rows of numbers: neither images nor texts."""
    return not spec.vocabulary and not any(one.is_image for _, one in named_values(spec.inputs))


def blocks(data: Data, split: str, count: int | None = None) -> Iterator[tuple[Structure, Structure]]:
    """Yields inputs and targets of a split, several examples at a time, as its source returns them.

    Args:
        data: of a run.
        split: its name.
        count: of examples, spread evenly; None for all.
    """
    source, indices = data.split(split)
    if count is not None and count < len(indices):
        indices = indices[np.linspace(0, len(indices) - 1, count).astype(np.int64)]
    step = max(1, min(MAX_BLOCK, BLOCK_BYTES // max(example_bytes(data.spec), 1)))
    for start in range(0, len(indices), step):
        inputs, targets, *_ = source.gather(tf.constant(indices[start : start + step]))
        yield inputs, targets


def scan(data: Data, split: str) -> Scan:
    """Returns the targets of a split, and hashes of its examples.

    Two rows of numbers are alike if their targets are equal too; for images and texts the inputs decide.
    """
    source, indices = data.split(split)
    known = getattr(source, "all_targets", None)
    targets = None if known is None else map_structure(lambda one: np.asarray(one)[indices], known)
    if example_bytes(data.spec) * sum(map(data.examples, data.splits)) > MAX_COMPARED_BYTES:
        return Scan(targets)
    hashes, read = [], []
    for inputs, found in blocks(data, split):
        compared = [inputs, found] if is_tabular(data.spec) else [inputs]
        arrays = [one.numpy() for structure in compared for _, one in named_values(structure)]
        hashed = hash_rows(arrays)
        hashes.append(hashed if data.spec.vocabulary else np.maximum(hashed, EMPTY + 1))
        if known is None:
            read.append(map_structure(lambda one: one.numpy(), found))
    if known is None and not is_several(data.spec.targets):
        targets = np.concatenate(read)
    return Scan(targets, np.concatenate(hashes))


def hash_rows(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Returns a hash of each row, uint64 [rows]; zeros at the end of a row make no difference.

    Each 32-bit word is multiplied by a random number of its own; the upper halves of two such sums are the hash. Two
    different rows have the same one with a probability of 2^-64.

    Args:
        arrays: [rows, ...] of any dtype; all belong to the same rows.
    """
    sums = np.zeros((len(arrays[0]), 2), np.uint64)
    for number, array in enumerate(arrays):
        flat = np.ascontiguousarray(array).reshape(len(array), -1)
        width = flat.shape[1] * flat.itemsize
        content = flat.view(np.uint8).reshape(len(flat), width)
        words = np.pad(content, ((0, 0), (0, -width % 4))).view(np.uint32).astype(np.uint64)
        factors = np.random.default_rng(number).integers(0, 2**64, (words.shape[1], 2), np.uint64, endpoint=False)
        sums += words @ factors
    return (sums[:, 0] >> np.uint64(32) << np.uint64(32)) | (sums[:, 1] >> np.uint64(32))
