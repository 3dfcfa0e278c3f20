"""Folders of images, decoded once."""

import hashlib
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import psutil
import tensorflow as tf

from tfloop_cli.engine.data.array_dataset import ArraySource
from tfloop_cli.engine.data.cache import MemoryMappedArray, cached
from tfloop_cli.engine.data.csv_and_jsonl import class_names, refuse
from tfloop_cli.engine.data.image_decoding import Decoder, encoded, invalid_image
from tfloop_cli.engine.data.invalid_examples import require_valid_examples, skip_example, skips_invalid_examples
from tfloop_cli.engine.data.spec import Dataset, DataSpec, Source
from tfloop_cli.errors import TfloopError, short_path
from tfloop_cli.registry import datasets
from tfloop_cli.registry.argument_types import OnResume, PositiveInt

EXTENSIONS = (".png", ".jpg", ".jpeg")


@datasets.register("images")
def images(
    *,
    path: Annotated[Path, OnResume.CHANGES_REST],
    size: tuple[PositiveInt, PositiveInt] | None = None,
    channels: Literal[1, 3] = 3,
    in_memory: Annotated[Literal["auto", "always", "never"], OnResume.FREE] = "auto",
) -> Dataset:
    """A folder of .png and .jpg files: `train/CLASS/*.png`, `test/CLASS/*.png` and, optionally, `validation/CLASS/`.

    Images are decoded once and cached on disk (`tfloop cache`), so that the next run starts at once. A file counts as
    unchanged if its name, size and modification time are.

    Args:
        path: the folder; the classes are the subfolders of its `train`.
        size: height and width to which all images are resized; null: no resizing, and all must have one size.
        channels: 3 for color, 1 for grayscale; images are converted.
        in_memory: whether to keep all examples in memory instead of reading them from the cache; auto: if they need at
            most a quarter of the free memory.
    """
    root, shown = path, short_path(path)
    classes = _classes(root)
    splits = {
        name: _list(name, root / name, classes)
        for name in ("train", "validation", "test")
        if name == "train" or os.path.lexists(root / name)
    }
    height, width = size or _size_of_first(splits["train"])
    spec = DataSpec((height, width, channels), "uint8", (), classes)
    decoder = Decoder(spec.input_shape, resize=size is not None)
    if skips_invalid_examples():
        splits = {name: _valid(name, f"{name} images of {shown}", files, decoder) for name, files in splits.items()}
    needed = sum(len(files) for files in splits.values()) * int(np.prod(spec.input_shape))
    allowed = {"always": needed, "auto": psutil.virtual_memory().available // 4, "never": -1}[in_memory]
    identity = [(name, files.names, files.sizes, files.labels.tolist()) for name, files in splits.items()]
    return Dataset(
        spec=spec,
        splits={
            name: _open(f"{name} images of {shown}", files, decoder, needed <= allowed)
            for name, files in splits.items()
        },
        # Without modification times: a copy of the folder on another machine is the same data.
        fingerprint=hashlib.sha256(repr((identity, classes, decoder.version)).encode()).hexdigest(),
    )


@dataclass(frozen=True)
class Files:
    """The images of a split, in order.

    Attributes:
        paths: one per image.
        names: one per image, relative to the split's folder.
        sizes: in bytes.
        times: modification times, nanoseconds since 1970.
        labels: int32 [files].
    """

    paths: list[str]
    names: list[str]
    sizes: list[int]
    times: list[int]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    def subset(self, numbers: Sequence[int]) -> "Files":
        """Returns the images with these indices."""
        lists = ([values[number] for number in numbers] for values in (self.paths, self.names, self.sizes, self.times))
        return Files(*lists, self.labels[numbers])


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


def _valid(split: str, about: str, files: Files, decoder: Decoder) -> Files:
    """Returns the images that can be decoded. Finding them needs a pass over all; the result is cached."""

    def blocks() -> Iterator[np.ndarray]:
        print(f"validating {len(files):,} {about}", file=sys.stderr, flush=True)
        yield from decoder.valid(files.paths)

    rows = cached(_fingerprint(files, decoder, "valid"), f"validity of {about}", (len(files),), "uint8", blocks)
    valid = rows.array if rows is not None else np.concatenate(list(blocks()))
    for number in np.flatnonzero(valid == 0):
        path = files.paths[number]
        skip_example(split, decoder.failure([path]) or invalid_image(path, "it could not be decoded before"))
    require_valid_examples(split, int(valid.sum()))
    return files.subset(np.flatnonzero(valid).tolist())


def _fingerprint(files: Files, decoder: Decoder, *more: object) -> str:
    """Returns the fingerprint of a cache entry of a split."""
    identity = (decoder.version, files.names, files.sizes, files.times, *more)
    return hashlib.sha256(repr(identity).encode()).hexdigest()


def _open(about: str, files: Files, decoder: Decoder, in_memory: bool) -> Source:
    def blocks() -> Iterator[np.ndarray]:
        print(f"decoding {len(files):,} {about}", file=sys.stderr, flush=True)
        yield from decoder.blocks(files.paths)

    shape = (len(files), *decoder.shape)
    rows = cached(_fingerprint(files, decoder), f"{about}, {'x'.join(map(str, decoder.shape))}", shape, "uint8", blocks)
    if not in_memory:
        return CachedSource(rows, files.labels) if rows is not None else DecodingSource(files, decoder)
    if rows is not None:
        return ArraySource(rows.array, files.labels)
    pixels, done = np.empty(shape, np.uint8), 0
    for block in blocks():
        pixels[done : done + len(block)] = block
        done += len(block)
    return ArraySource(pixels, files.labels)


def _classes(root: Path) -> tuple[str, ...]:
    """Returns the names of the class folders, in order."""
    train = root / "train"
    found = class_names(entry.name for entry in _entries(train) if os.path.isdir(entry))  # noqa: PTH112
    if not found:
        refuse(str(train), None, "it has no subfolders", hint="each class has its own subfolder: train/CLASS/")
    return found


def _list(split: str, folder: Path, classes: tuple[str, ...]) -> Files:
    """Lists the images of a split, by class and name."""
    paths, names, sizes, times, labels = [], [], [], [], []
    for kind in _entries(folder):
        if kind.name not in classes or not os.path.isdir(kind):  # noqa: PTH112
            refuse(
                kind.path,
                None,
                "this is not a class of the training split",
                hint=f"its classes are {', '.join(classes)}",
            )
        for entry in _entries(Path(kind.path)):
            if not entry.name.lower().endswith(EXTENSIONS):
                refuse(entry.path, None, "this is not a .png, .jpg or .jpeg file", hint="remove it, or convert it")
            if (status := _status(entry)) is None:
                skip_example(split, invalid_image(entry.path, "it is not a file, or a link to a missing one"))
                continue
            paths.append(entry.path)
            names.append(f"{kind.name}/{entry.name}")
            sizes.append(status.st_size)
            times.append(status.st_mtime_ns)
            labels.append(classes.index(kind.name))
    if not paths:
        refuse(str(folder), None, "it has no images", hint=f"images belong in {folder.name}/CLASS/")
    return Files(paths, names, sizes, times, np.array(labels, np.int32))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Returns the entries of a folder by name, without hidden files."""
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        problem = "this folder does not exist" if missing else f"this folder cannot be read: {error.strerror}"
        refuse(str(folder), None, problem, hint="images belong in train/CLASS/ and test/CLASS/")


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Returns size and time of a file, or of the one that a link points to; None if it is not a file."""
    try:
        status = entry.stat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _size_of_first(files: Files) -> tuple[int, int]:
    """Returns the size of the first image, or of the first valid one if invalid ones are skipped."""
    decoder = Decoder((1, 1, 3), resize=True)
    for path in files.paths:
        try:
            height, width, _ = tf.io.decode_image(tf.io.read_file(os.fsencode(path)), expand_animations=False).shape
        except tf.errors.OpError as error:
            if not skips_invalid_examples():
                raise decoder.failure([path]) or error from error
        else:
            return height, width
    raise decoder.failure(files.paths) or invalid_image(files.paths[0], "no image can be decoded")
