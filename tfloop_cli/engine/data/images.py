"""Folders of pictures, decoded once."""

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import tensorflow as tf

from tfloop_cli.engine.data.bad import leave_out, require_some, skipping
from tfloop_cli.engine.data.cache import Rows, cached
from tfloop_cli.engine.data.decoding import Decoder, unusable
from tfloop_cli.engine.data.files import class_names, refuse
from tfloop_cli.engine.data.spec import ArraySource, Dataset, DataSpec, Source
from tfloop_cli.errors import TfloopError
from tfloop_cli.fields import PositiveInt
from tfloop_cli.registry import datasets

ENDINGS = (".png", ".jpg", ".jpeg")


@datasets.register("images")
def images(
    *,
    path: str,
    size: tuple[PositiveInt, PositiveInt] | None = None,
    channels: Literal[1, 3] = 3,
    in_memory: Literal["auto", "always", "never"] = "auto",
) -> Dataset:
    """A folder of .png and .jpg files: `train/CLASS/*.png`, `test/CLASS/*.png` and, if there is one, `validation/`.

    They are decoded once, and kept decoded in the cache (`tfloop cache`), so that the next run starts at once. A file
    counts as the same while its name, size and time of change are.

    Args:
        path: the folder; the classes are the folders in its `train`.
        size: height and width to bring every image to; null: as they are, and then all have to be of one shape.
        channels: 3 for colours, 1 for grey; each image is made so.
        in_memory: whether to hold all examples rather than read them from the cache's file; auto: where they take at
            most a quarter of the memory that is free.
    """
    root = Path(path).expanduser()
    classes = _classes(root)
    splits = {
        name: _list(root / name, classes)
        for name in ("train", "validation", "test")
        if name == "train" or (root / name).is_dir()
    }
    height, width = size or _size_of_first(splits["train"])
    spec = DataSpec((height, width, channels), "uint8", (), classes)
    decoder = Decoder(spec.input_shape, resize=size is not None)
    if skipping():
        splits = {name: _good(name, f"{name} images of {root}", files, decoder) for name, files in splits.items()}
    needed = sum(len(files) for files in splits.values()) * int(np.prod(spec.input_shape))
    allowed = {"always": needed, "auto": psutil.virtual_memory().available // 4, "never": -1}[in_memory]
    told = [(name, files.names, files.sizes, files.labels.tolist()) for name, files in splits.items()]
    return Dataset(
        spec=spec,
        splits={
            name: _open(f"{name} images of {root}", files, decoder, needed <= allowed) for name, files in splits.items()
        },
        # Without the files' times: a copy of the folder on another machine is the same data.
        fingerprint=hashlib.sha256(repr((told, classes, decoder.version)).encode()).hexdigest(),
    )


@dataclass(frozen=True)
class Files:
    """The images of a split, in order.

    Attributes:
        paths: of each.
        names: of each, within the split.
        sizes: bytes of each.
        times: when each was changed, nanoseconds since 1970.
        labels: int32 [files].
    """

    paths: list[str]
    names: list[str]
    sizes: list[int]
    times: list[int]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    def only(self, numbers: Sequence[int]) -> "Files":
        """Some of them."""
        lists = ([values[number] for number in numbers] for values in (self.paths, self.names, self.sizes, self.times))
        return Files(*lists, self.labels[numbers])


class CachedSource:
    """A split whose pixels are read from the cache's file.

    Args:
        rows: uint8 [examples, height, width, channels].
        labels: int32 [examples].
    """

    def __init__(self, rows: Rows, labels: np.ndarray) -> None:
        self._rows, self._labels = rows, tf.constant(labels)

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`: one copy out of the file's pages."""
        pixels = tf.numpy_function(self._rows.take, [indices], tf.uint8)
        shape = [indices.shape[0], *self._rows.array.shape[1:]]
        return tf.ensure_shape(pixels, shape), tf.gather(self._labels, indices)


class DecodingSource:
    """A split whose files are decoded whenever they are asked for.

    Args:
        files: of the split.
        decoder: makes pixels of them.
    """

    def __init__(self, files: Files, decoder: Decoder) -> None:
        self._files, self._decoder = files, decoder

    def __len__(self) -> int:
        return len(self._files)

    @property
    def failure(self) -> TfloopError | None:
        """Why a read inside the graph failed; TensorFlow's error carries no more than its text."""
        return self._decoder.failure(self._files.paths)

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`."""
        paths, pixels = tf.gather(self._files.paths, indices), tf.TensorSpec(self._decoder.shape, tf.uint8)
        return tf.map_fn(self._decoder.decode, paths, fn_output_signature=pixels), tf.gather(
            self._files.labels, indices
        )


def _good(split: str, about: str, files: Files, decoder: Decoder) -> Files:
    """Those that can be decoded. To know which takes a pass over all, whose result the cache keeps."""

    def blocks() -> Iterator[np.ndarray]:
        print(f"looking for bad ones among {len(files):,} {about}", file=sys.stderr, flush=True)
        yield from decoder.good(files.paths)

    rows = cached(_fingerprint(files, decoder, "good"), f"which {about} are good", (len(files),), "uint8", blocks)
    good = rows.array if rows is not None else np.concatenate(list(blocks()))
    for number in np.flatnonzero(good == 0):
        path = files.paths[number]
        leave_out(split, decoder.failure([path]) or unusable(path, "it could not be decoded when it was tried"))
    require_some(split, int(good.sum()))
    return files.only(np.flatnonzero(good).tolist())


def _fingerprint(files: Files, decoder: Decoder, *more: object) -> str:
    """Of what the cache keeps of a split."""
    told = (decoder.version, files.names, files.sizes, files.times, *more)
    return hashlib.sha256(repr(told).encode()).hexdigest()


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
    """Names of the folders to learn, in order."""
    train = root / "train"
    if not train.is_dir():
        refuse(str(train), None, "there is no such folder", hint="images lie in train/CLASS/ and test/CLASS/")
    found = class_names(entry.name for entry in _entries(train) if entry.is_dir())
    if not found:
        refuse(str(train), None, "there is no folder in it", hint="each class has a folder of its own: train/CLASS/")
    return found


def _list(folder: Path, classes: tuple[str, ...]) -> Files:
    """The images of a split, by class and name."""
    paths, names, sizes, times, labels = [], [], [], [], []
    for kind in _entries(folder):
        if kind.name not in classes or not kind.is_dir():
            refuse(kind.path, None, "this is not one of the classes", hint=f"train has {', '.join(classes)}")
        for entry in _entries(Path(kind.path)):
            if not entry.name.lower().endswith(ENDINGS) or not entry.is_file():
                refuse(entry.path, None, f"this is no {', '.join(ENDINGS)} file", hint="take it away, or convert it")
            status = entry.stat()
            paths.append(entry.path)
            names.append(f"{kind.name}/{entry.name}")
            sizes.append(status.st_size)
            times.append(status.st_mtime_ns)
            labels.append(classes.index(kind.name))
    if not paths:
        refuse(str(folder), None, "there is no image in it", hint=f"images lie in {folder.name}/CLASS/")
    return Files(paths, names, sizes, times, np.array(labels, np.int32))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder but for hidden files, by name."""
    with os.scandir(folder) as found:
        return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _size_of_first(files: Files) -> tuple[int, int]:
    """Of the first image, or of the first good one where bad ones are left out."""
    reading = Decoder((1, 1, 3), resize=True)
    for path in files.paths:
        try:
            height, width, _ = tf.io.decode_image(tf.io.read_file(path), expand_animations=False).shape
        except tf.errors.OpError as error:
            if not skipping():
                raise reading.failure([path]) or error from error
        else:
            return height, width
    raise reading.failure(files.paths) or unusable(files.paths[0], "there is no good one")
