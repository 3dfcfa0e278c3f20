"""The pixels of a split: in memory, in the disk cache, or decoded each time; and images that occur twice."""

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.array_dataset import ArraySource
from tfloop_cli.engine.data.cache import MemoryMappedArray, cached
from tfloop_cli.engine.data.images.decoding import Decoder, encoded
from tfloop_cli.engine.data.images.files import Files
from tfloop_cli.engine.data.images.pixels import pillow_version
from tfloop_cli.engine.data.images.problems import invalid_image
from tfloop_cli.engine.data.invalid_examples import require_valid_examples, skip_example
from tfloop_cli.engine.data.progress import report_progress
from tfloop_cli.engine.data.spec import Source
from tfloop_cli.errors import TfloopError

HASHED_AT_ONCE = 64  # images


class CachedSource:
    """A split whose pixels are read from the disk cache.

    Args:
        rows: uint8 [examples, height, width, channels].
        labels: int32 [examples].
    """

    def __init__(self, rows: MemoryMappedArray, labels: np.ndarray) -> None:
        self._rows, self.all_targets = rows, tf.constant(labels)

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`; copies rows from the memory-mapped file."""
        pixels = tf.numpy_function(self._rows.take, [indices], tf.uint8)
        shape = [indices.shape[0], *self._rows.array.shape[1:]]
        return tf.ensure_shape(pixels, shape), tf.gather(self.all_targets, indices)


class DecodingSource:
    """A split whose files are decoded each time they are used.

    Args:
        files: of the split.
        decoder: decodes them.
    """

    def __init__(self, files: Files, decoder: Decoder) -> None:
        self._files, self._decoder, self.all_targets = files, decoder, files.labels

    def __len__(self) -> int:
        return len(self._files)

    @property
    def failure(self) -> TfloopError | None:
        """Why a read inside the graph failed; TensorFlow's error has only a text."""
        return self._decoder.failure(self._files.paths)

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`."""
        paths, pixels = tf.gather(encoded(self._files.paths), indices), tf.TensorSpec(self._decoder.shape, tf.uint8)
        return tf.map_fn(self._decoder.decode, paths, fn_output_signature=pixels), tf.gather(self.all_targets, indices)


def valid_files(split: str, about: str, files: Files, decoder: Decoder) -> Files:
    """Returns the images that can be decoded. Finding them needs a pass over all; the result is cached."""

    def blocks() -> Iterator[np.ndarray]:
        yield from report_progress(f"validating {about}", len(files), decoder.valid(files.paths))

    identity = _fingerprint(files, decoder, "valid", pillow_version())
    rows = cached(identity, f"validity of {about}", (len(files),), "uint8", blocks)
    valid = rows.array if rows is not None else np.concatenate(list(blocks()))
    for number in np.flatnonzero(valid == 0):
        path = files.paths[number]
        skip_example(split, decoder.failure([path]) or invalid_image(path, "it could not be decoded before"))
    require_valid_examples(split, int(valid.sum()))
    return files.subset(np.flatnonzero(valid).tolist())


def open_source(about: str, files: Files, decoder: Decoder, in_memory: bool) -> tuple[Source, np.ndarray | None]:
    """Returns the source of a split, and a hash of each image's pixels: uint64 [examples].

    Args:
        about: describes the images for the user.
        files: of the split.
        decoder: decodes them.
        in_memory: whether to keep all pixels in memory.

    Returns:
        No hashes (None) if the images are decoded each time they are used.
    """

    def blocks() -> Iterator[np.ndarray]:
        yield from report_progress(f"decoding {about}", len(files), decoder.blocks(files.paths))

    shape, identity = (len(files), *decoder.shape), _fingerprint(files, decoder)
    rows = cached(identity, f"{about}, {'x'.join(map(str, decoder.shape))}", shape, "uint8", blocks)
    if rows is not None:
        hashes = _hashes(rows.array, _fingerprint(files, decoder, "hashes"), about)
        return ArraySource(rows.array, files.labels) if in_memory else CachedSource(rows, files.labels), hashes
    if not in_memory:
        return DecodingSource(files, decoder), None
    pixels, done = np.empty(shape, np.uint8), 0
    for block in blocks():
        pixels[done : done + len(block)] = block
        done += len(block)
    return ArraySource(pixels, files.labels), _hash_all(pixels)


def duplicates(files: Mapping[str, Files], hashes: Mapping[str, np.ndarray | None]) -> list[str]:
    """Returns a line for each two splits that share images with equal pixels, and for each split that repeats some.

    Args:
        files: of each split.
        hashes: of each split, as `open_source` returns them.
    """
    first: dict[int, tuple[str, int]] = {}
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}  # two splits -> names of equal images
    for split, values in hashes.items():
        for number, value in enumerate([] if values is None else values.tolist()):
            before, twin = first.setdefault(value, (split, number))
            if (before, twin) != (split, number):
                names = f"{before}/{files[before].names[twin]}", f"{split}/{files[split].names[number]}"
                found.setdefault((before, split), []).append(names)
    lines = []
    for (before, split), names in found.items():
        where = f"more than once in {split}" if before == split else f"in {split} and in {before} too"
        count = f"{len(names):,} image{'s are' if len(names) > 1 else ' is'}"
        lines.append(f"duplicates: {count} {where}, with the same pixels, such as {' and '.join(names[0])}")
    return lines


def _fingerprint(files: Files, decoder: Decoder, *more: object) -> str:
    """Returns the fingerprint of a cache entry of a split."""
    identity = (decoder.version, files.names, files.sizes, files.times, *more)
    return hashlib.sha256(repr(identity).encode()).hexdigest()


def _hashes(array: np.ndarray, fingerprint: str, about: str) -> np.ndarray:
    """Returns the hashes of the rows of an array from the cache, or computes and stores them."""

    def blocks() -> Iterator[np.ndarray]:
        yield from (_hash_all(array[at : at + HASHED_AT_ONCE]) for at in range(0, len(array), HASHED_AT_ONCE))

    found = cached(fingerprint, f"hashes of {about}", (len(array),), "uint64", blocks)
    return _hash_all(array) if found is None else found.array


def _hash_all(pixels: np.ndarray) -> np.ndarray:
    """Returns a hash of each image: uint64 [images]."""
    digests = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in pixels)
    return np.frombuffer(b"".join(digests), np.uint64)
