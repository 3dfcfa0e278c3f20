"""The pixels of a split: in memory, in the disk cache, or decoded each time; and images that occur twice."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.array_source import ArraySource
from tfloop_cli.engine.data.cache import MemoryMappedArray, cached
from tfloop_cli.engine.data.images.decoding import Decoder
from tfloop_cli.engine.data.images.listing import Files
from tfloop_cli.engine.data.images.problems import invalid_image
from tfloop_cli.engine.data.invalid_examples import require_valid_examples, skip_example, skips_invalid_examples
from tfloop_cli.engine.data.progress import report_progress
from tfloop_cli.engine.data.spec import Source
from tfloop_cli.errors import ExitCode, TfloopError


class CachedSource:
    """A split whose pixels are read from the disk cache.

    Args:
        rows: uint8 [rows, height, width, channels].
        labels: int32 [examples].
        numbers: the row of each example, int64 [examples].
    """

    def __init__(self, rows: MemoryMappedArray, labels: np.ndarray, numbers: np.ndarray) -> None:
        self._rows, self._numbers, self.all_targets = rows, numbers, tf.constant(labels)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def failure(self) -> TfloopError | None:
        """Why a read inside the graph failed: the disk did not accept the decoded images."""
        if error := self._rows.failure:
            problem = f"the decoded images could not be written to the cache: {error.strerror or error}"
            return TfloopError(problem, hint="check the disk; `TFLOOP_CACHE` moves the cache", code=ExitCode.TRY_AGAIN)
        return None

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`; copies rows from the memory-mapped file."""
        pixels = tf.numpy_function(lambda chosen: self._rows.take(self._numbers[chosen]), [indices], tf.uint8)
        shape = [indices.shape[0], *self._rows.array.shape[1:]]
        return tf.ensure_shape(pixels, shape), tf.gather(self.all_targets, indices)


class DecodingSource:
    """A split whose files are decoded each time they are used.

    Args:
        files: of the split.
        decoder: decodes them.

    Attributes:
        failure: why a read inside the graph failed; TensorFlow's error has only a text.
    """

    def __init__(self, files: Files, decoder: Decoder) -> None:
        self._files, self._decoder, self.all_targets = files, decoder, files.labels
        self.failure: TfloopError | None = None

    def __len__(self) -> int:
        return len(self._files)

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`."""
        pixels = tf.numpy_function(self._decoded, [indices], tf.uint8)
        return tf.ensure_shape(pixels, [indices.shape[0], *self._decoder.shape]), tf.gather(self.all_targets, indices)

    def _decoded(self, indices: np.ndarray) -> np.ndarray:
        try:
            return self._decoder.decode_all(list(map(self._files.images.path, indices.tolist())))
        except TfloopError as error:
            self.failure = error
            raise


@dataclass(frozen=True)
class Opened:
    """A split that is ready for training.

    Attributes:
        source: of the pixels and labels.
        files: of its examples.
        hashes: of each image's pixels, uint64 [examples]; None if the images are decoded each time they are used.
    """

    source: Source
    files: Files
    hashes: np.ndarray | None


def open_split(split: str, about: str, files: Files, decoder: Decoder, in_memory: tuple[bool, bool]) -> Opened:
    """Returns a split whose images are decoded, once, without those that are invalid.

    Args:
        split: its name.
        about: describes the images for the user.
        files: of the split.
        decoder: decodes them.
        in_memory: whether to keep all pixels in memory if they are in the cache, and if they cannot be cached.

    Raises:
        TfloopError: a file cannot be read or decoded and is not skipped, or all are invalid (exit code 4).
    """
    skip = skips_invalid_examples()
    trailer = -(-8 * len(files) // int(np.prod(decoder.shape)))  # further rows, for the hashes
    shape = (len(files) + trailer, *decoder.shape)

    def blocks() -> Iterator[np.ndarray]:
        hashes: list[np.ndarray] = []
        yield from report_progress(f"decoding {about}", len(files), _decoded(files, decoder, skip, hashes))
        yield _as_rows(np.concatenate(hashes), shape, trailer)

    what = f"{about}, {'x'.join(map(str, decoder.shape))}"
    rows = cached(_fingerprint(files, decoder), what, shape, "uint8", blocks, flush_later=True)
    if rows is not None:
        array = rows.array
    elif in_memory[1]:
        array, done = np.empty(shape, np.uint8), 0
        for block in blocks():
            array[done : done + len(block)] = block
            done += len(block)
    else:
        return _decoded_each_time(split, about, files, decoder)
    hashes = array[len(files) :].reshape(-1)[: 8 * len(files)].view(np.uint64)
    valid = _without_invalid(split, files, hashes, decoder)
    kept = files if len(valid) == len(files) else files.subset(valid.tolist())
    if rows is not None and not in_memory[0]:
        return Opened(CachedSource(rows, kept.labels, valid), kept, hashes[valid])
    pixels = array[: len(files)] if kept is files else array[valid]
    return Opened(ArraySource(pixels, kept.labels), kept, hashes[valid])


def _decoded(files: Files, decoder: Decoder, skip: bool, hashes: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the pixels of all files in order, and appends their hashes."""
    for pixels, of_pixels in decoder.blocks(files.paths, skip):
        hashes.append(of_pixels)
        yield pixels


def _as_rows(hashes: np.ndarray, shape: tuple[int, ...], count: int) -> np.ndarray:
    """Returns hashes as the last rows of an array of pixels: uint8 [count, *shape[1:]]."""
    rows = np.zeros((count, *shape[1:]), np.uint8)
    rows.reshape(-1)[: hashes.nbytes] = hashes.view(np.uint8)
    return rows


def _decoded_each_time(split: str, about: str, files: Files, decoder: Decoder) -> Opened:
    """Returns a split that is not stored. Which images are invalid, if they are skipped, needs a pass over all."""
    if skips_invalid_examples():

        def blocks() -> Iterator[np.ndarray]:
            passes = (hashes for _, hashes in decoder.blocks(files.paths, skip=True))
            yield from report_progress(f"validating {about}", len(files), passes)

        identity = _fingerprint(files, decoder, "hashes")
        found = cached(identity, f"validity of {about}", (len(files),), "uint64", blocks)
        hashes = found.array if found is not None else np.concatenate(list(blocks()))
        files = files.subset(_without_invalid(split, files, hashes, decoder).tolist())
    return Opened(DecodingSource(files, decoder), files, None)


def _without_invalid(split: str, files: Files, hashes: np.ndarray, decoder: Decoder) -> np.ndarray:
    """Returns the numbers of the images that could be decoded, int64 [examples]; the others are skipped."""
    invalid = np.flatnonzero(hashes == 0)
    if len(invalid):
        paths = list(map(files.images.path, invalid.tolist()))
        error = decoder.failure(paths[:1]) or invalid_image(paths[0], "it could not be decoded before")
        skip_example(split, error, len(invalid), paths)
    require_valid_examples(split, len(files) - len(invalid))
    return np.flatnonzero(hashes)


def duplicates(splits: Mapping[str, Opened]) -> list[str]:
    """Returns a line for each two splits that share images with equal pixels, and for each split that repeats some."""
    known = [opened.hashes for opened in splits.values() if opened.hashes is not None]
    if not known or len(np.unique(joined := np.concatenate(known))) == len(joined):
        return []
    first: dict[int, tuple[str, int]] = {}
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}  # two splits -> names of equal images
    for split, opened in splits.items():
        for number, value in enumerate([] if opened.hashes is None else opened.hashes.tolist()):
            before, twin = first.setdefault(value, (split, number))
            if (before, twin) != (split, number):
                names = (
                    f"{before}/{splits[before].files.images.names[twin]}",
                    f"{split}/{opened.files.images.names[number]}",
                )
                found.setdefault((before, split), []).append(names)
    lines = []
    for (before, split), names in found.items():
        where = f"more than once in {split}" if before == split else f"in {split} and in {before} too"
        count = f"{len(names):,} image{'s are' if len(names) > 1 else ' is'}"
        lines.append(f"duplicates: {count} {where}, with the same pixels, such as {' and '.join(names[0])}")
    return lines


def _fingerprint(files: Files, decoder: Decoder, *more: object) -> str:
    """Returns the fingerprint of a cache entry of a split."""
    images = files.images
    identity = (decoder.version, images.names, images.sizes.tolist(), images.times.tolist(), *more)
    return hashlib.sha256(repr(identity).encode()).hexdigest()
