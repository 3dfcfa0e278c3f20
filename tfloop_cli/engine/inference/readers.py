"""Chooses what reads the inputs of a run: its encoders decide, or the shape of its data where it has none."""

import glob
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from tfloop_cli.config.data_formats import TABLE_KINDS, is_idx, suffix_of, table_kind
from tfloop_cli.config.data_paths import paths_of
from tfloop_cli.config.refusals import refusal
from tfloop_cli.config.unreadable_formats import ARCHIVES, SUFFIXES
from tfloop_cli.engine.data.images.decoding import Decoder
from tfloop_cli.engine.data.images.encoders import ImageEncoders
from tfloop_cli.engine.data.images.files import Scanner
from tfloop_cli.engine.data.images.packed import paths_in
from tfloop_cli.engine.data.spec import InputSpec
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.encoders import TableEncoders
from tfloop_cli.engine.data.tables.files import TableFile, find_files
from tfloop_cli.engine.data.texts.encoders import TextEncoders
from tfloop_cli.engine.data.texts.reading import is_text_file
from tfloop_cli.engine.inference.arrays import ArrayInputs
from tfloop_cli.engine.inference.images import ImageInputs
from tfloop_cli.engine.inference.inputs import Inputs
from tfloop_cli.engine.inference.tables import TableInputs
from tfloop_cli.engine.inference.texts import TextInputs
from tfloop_cli.engine.trained_run import TrainedRun
from tfloop_cli.errors import TfloopError

ARRAY_SUFFIXES = (".npy", ".npz")


@dataclass(frozen=True)
class Reader:
    """Reads inputs of a run: at least one of the attributes is not None.

    Attributes:
        images, table, texts, arrays: what reads such inputs, if the run takes them.
        keep: columns to copy.
    """

    images: ImageInputs | None = None
    table: TableInputs | None = None
    texts: TextInputs | None = None
    arrays: ArrayInputs | None = None
    keep: Sequence[str] = ()

    @property
    def what(self) -> str:
        """What the run takes, in words."""
        known = {
            "image files and folders of them": self.images, "rows of tables (.csv, .parquet, .jsonl, ...)": self.table,
            ".txt files and tables with a column of texts": self.texts, "arrays (.npy, .npz)": self.arrays,
        }  # fmt: skip
        return ", ".join(name for name, reader in known.items() if reader is not None)

    @property
    def notes(self) -> list[str]:
        """What was decided for the user, and what was found in the inputs that were named or read so far."""
        return [note for one in (self.images, self.table, self.texts) if one is not None for note in one.notes]

    def files(self, names: Sequence[str]) -> "InputFiles":
        """Returns the files that arguments name: paths, folders and patterns.

        Raises:
            TfloopError: one is of a kind that the run does not take, or has columns to keep that it has not (exit code
                2); it does not exist, or there is none (exit code 4).
        """
        found = [(self._kind(path), path) for name in names for path in paths_of(name)]
        if self.keep and (other := next((path for kind, path in found if kind not in ("table", "text rows")), None)):
            raise TfloopError(f"`--keep` copies columns of tables, and {other} has none")
        return InputFiles(self, found)

    def records(self, records: Sequence[Mapping[str, Any] | str], names: np.ndarray) -> Inputs:
        """Returns objects as inputs: the columns of a row, or `input`: a path, a text, or the numbers of an array.

        Args:
            records: a text is the error of an input.
            names: see `Inputs`.
        """
        reader = self.table or self.texts or self.images or self.arrays
        assert reader is not None
        return reader.records(records, names)

    def _kind(self, path: str) -> str:
        """Returns what reads a path: "table", "text rows", "texts", "text folder", "image", "image folder",
        "image rows", "array".
        """
        suffix, folder = suffix_of(path), Path(path).is_dir()
        is_table = suffix in TABLE_KINDS or (not self.images and not folder and table_kind(path) is not None)
        if self.table and is_table:
            return "table"
        if self.texts and (folder or is_table):
            return "text folder" if folder else "texts" if suffix == ".txt" else "text rows"
        if self.arrays and not folder and (suffix in ARRAY_SUFFIXES or is_idx(path)):
            return "array"
        if self.images and suffix == ".parquet":
            return "image rows"
        if self.images and suffix not in TABLE_KINDS and suffix not in ARRAY_SUFFIXES:
            self.images.used = True
            return "image folder" if folder else "image"
        if not folder and (suffix in SUFFIXES or suffix in ARCHIVES):
            raise refusal(path)
        hint = f"this run takes {self.what}"
        if self.table and folder:
            hint = "name its files: FOLDER/*.csv"
        elif self.table and suffix in ARRAY_SUFFIXES:
            hint = f"its columns have no names: save them as .csv or .parquet with {self.table.columns}"
        raise TfloopError(f"{path}: this {'folder' if folder else 'file'} does not suit the run", hint=hint)


@dataclass(frozen=True)
class InputFiles:
    """Files to predict for.

    Args:
        reader: reads them.
        files: kind and path, see `Reader`.
    """

    reader: Reader
    files: Sequence[tuple[str, str]]

    @property
    def total(self) -> int | None:
        """The number of inputs; None if only reading all of them shows it."""
        kinds = {kind for kind, _ in self.files}
        if kinds <= {"image", "texts"}:
            return len(self.files)
        if kinds == {"array"} and self.reader.arrays:
            return self.reader.arrays.total([path for _, path in self.files])
        return None

    def read(self, batch_size: int) -> Generator[Inputs]:
        """Yields the inputs in order, in chunks.

        Raises:
            TfloopError: a file cannot be read, or does not have what the run needs (exit code 4).
        """
        several = len(self.files) > 1
        for kind, group in groupby(self.files, lambda one: one[0]):
            paths, reader = [path for _, path in group], self.reader
            if kind.startswith("image") and reader.images:
                yield from reader.images.read(_images_in(kind, paths), batch_size)
            elif kind == "array" and reader.arrays:
                yield from reader.arrays.read(paths, batch_size, several)
            elif kind == "table" and reader.table:
                yield from reader.table.read(_table_files(paths), batch_size, several)
            elif reader.texts:
                yield from _texts(reader.texts, kind, paths, batch_size, several)


def reader_of(run: TrainedRun, keep: Sequence[str] = ()) -> Reader:
    """Returns what reads the inputs of a run.

    Args:
        run: its encoders and its spec decide.
        keep: columns to copy from the inputs to the result.

    Raises:
        TfloopError: nothing can read inputs like those (exit code 2).
    """
    dataset = run.encoders.get("dataset")
    arguments = run.config.dataset.arguments
    if dataset == "table":
        encoders = TableEncoders.from_json(run.encoders)
        table = TableInputs(encoders, _dialect(arguments), str(arguments.get("missing", "impute")), keep)
        return Reader(table=table, keep=keep)
    if dataset == "text":
        texts = TextInputs(TextEncoders.from_json(run.encoders), _dialect(arguments, free_text=True), keep)
        return Reader(texts=texts, keep=keep)
    named = arguments.get("input") if dataset == "arrays" else None
    arrays = ArrayInputs(run.spec, keep, str(named or "").replace("{split}", "test"))
    return Reader(images=_images(run, keep, arrays), arrays=arrays, keep=keep)


def _images(run: TrainedRun, keep: Sequence[str], arrays: ArrayInputs) -> ImageInputs | None:
    if run.encoders.get("dataset") == "images":
        one = ImageEncoders.from_json(run.encoders)
        return ImageInputs(Decoder(one.shape, one.fit, one.background, one.max16), keep, arrays=arrays)
    spec = run.spec.inputs
    if not isinstance(spec, InputSpec) or spec.dtype != "uint8" or len(spec.shape) != 3 or None in spec.shape:
        return None
    height, width, channels = spec.shape
    if channels not in (1, 3):
        return None
    note = f"image files become {height}x{width}, other sizes with white borders: the run does not know how"
    return ImageInputs(Decoder((height, width, channels)), keep, [note], arrays)


def _dialect(arguments: Mapping[str, Any], free_text: bool = False) -> DialectOptions:
    known = {one.name for one in fields(DialectOptions)} - {"free_text", "are_keys"}
    given = {name: value for name, value in arguments.items() if name in known}
    return DialectOptions(**given, free_text=free_text, are_keys=False)


def _images_in(kind: str, paths: Sequence[str]) -> Iterable[str]:
    """Returns the paths of images: the files themselves, those in folders, or in .parquet files."""
    if kind == "image rows":
        return (one for path in paths for one in paths_in(Path(path).expanduser()))
    return paths if kind == "image" else (one for path in paths for one in Scanner().paths(Path(path)))


def _table_files(paths: Sequence[str]) -> list[TableFile]:
    return find_files([glob.escape(path) if glob.has_magic(path) else path for path in paths])


def _texts(texts: TextInputs, kind: str, paths: Sequence[str], batch_size: int, several: bool) -> Iterator[Inputs]:
    if kind == "text rows":
        yield from texts.read(_table_files(paths), batch_size, several)
        return
    read: Callable[[str], Sequence[str]] = lambda path: [path] if kind == "texts" else _texts_in(path)  # noqa: E731
    yield from texts.read_texts((one for path in paths for one in read(path)), batch_size)


def _texts_in(folder: str) -> list[str]:
    return [str(file) for file in sorted(Path(folder).rglob("*.txt")) if is_text_file(file, Path(folder))]
