"""Finds arrays in .npz, .npy and idx files, and reads or maps them; errors have the file and the key."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, NoReturn

import numpy as np

from tfloop_cli.config.data_formats import TABLE_KINDS, head_of, is_idx, suffix_of
from tfloop_cli.config.refusals import refusal
from tfloop_cli.config.suggestions import nearest
from tfloop_cli.config.unreadable_formats import ARCHIVES, SUFFIXES, format_of
from tfloop_cli.engine.data.array_names import usual_name, usual_names
from tfloop_cli.engine.data.idx_files import idx_names, open_idx, read_header
from tfloop_cli.errors import ExitCode, TfloopError, short_path

_READ_ERRORS = (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError)


@dataclass(frozen=True)
class StoredArray:
    """An array in a file, which is not read yet.

    Attributes:
        path: the .npy, .npz or idx file.
        member: the file within an .npz file; "" for any other file.
        shape, dtype: of the array.
        offset: of the values in the file, if they can be mapped into memory; else None (compressed, Fortran order).
    """

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int | None

    def __str__(self) -> str:
        return f"{short_path(self.path)}: `{self.name}`" if self.member else short_path(self.path)

    @property
    def name(self) -> str:
        """The name of the array in its file or folder."""
        return self.member.removesuffix(".npy") or self.path.stem

    @property
    def bytes(self) -> int:
        """The size in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def first(self, rows: int) -> "StoredArray":
        """Returns the first rows as an array."""
        return replace(self, shape=(rows, *self.shape[1:])) if self.shape else self

    def read(self) -> np.ndarray:
        """Returns the array in memory; raises TfloopError (exit code 4) if it cannot be read."""
        try:
            if is_idx(self.path.name):
                with open_idx(self.path) as stream:
                    shape, _ = read_header(stream)
                    return self._used(np.frombuffer(stream.read(), self.dtype).reshape(shape))
            if not self.member:
                return self._used(np.load(self.path, allow_pickle=False))
            with np.load(self.path, allow_pickle=False) as arrays:
                return self._used(arrays[self.member.removesuffix(".npy")])
        except _READ_ERRORS as error:
            self.refuse(f"it cannot be read: {error}", error)

    def _used(self, stored: np.ndarray) -> np.ndarray:
        return _native(stored[: self.shape[0]] if self.shape else stored)

    @classmethod
    def of(cls, path: Path) -> "StoredArray":
        """Returns the array in an .npy or idx file; raises TfloopError (exit code 4) if it cannot be read."""
        return _describe(path, "")

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Returns some rows; the file is not mapped for longer, so that memory does not grow with what was read."""
        if self.offset is None:
            return self._whole[start:stop]
        rows = stop - start
        try:
            count = rows * int(np.prod(self.shape[1:], dtype=np.int64))
            offset = self.offset + start * (count // max(rows, 1)) * self.dtype.itemsize
            return np.fromfile(self.path, self.dtype, count, offset=offset).reshape((rows, *self.shape[1:]))
        except _READ_ERRORS as error:
            self.refuse(f"it cannot be read: {error}", error)

    @cached_property
    def _whole(self) -> np.ndarray:
        return self.read()

    def map(self) -> np.ndarray:
        """Returns the array; its values are read from the file when they are used, if that is possible."""
        if self.offset is None or not self.shape or not self.bytes:
            return self.read()
        try:
            return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        except _READ_ERRORS as error:
            self.refuse(f"it cannot be read: {error}", error)

    def refuse(self, problem: str, cause: Exception | None = None) -> NoReturn:
        """Raises TfloopError (exit code 4) about this array."""
        raise TfloopError(f"{self}: {problem}", code=ExitCode.DATA) from cause


def find_arrays(path: Path) -> dict[str, StoredArray]:
    """Returns the arrays of an .npz file, or of the .npy or idx files in a folder, by their names.

    Arrays of other spellings, such as `X_train` and `train_labels`, are also there by the usual ones: `x_train`.

    Raises:
        TfloopError: there are none, or one cannot be read, such as one of Python objects (exit code 4).
    """
    try:
        if path.is_dir():
            found = {name: _describe(file, "") for name, file in _files_in(path).items()}
        else:
            with zipfile.ZipFile(path) as archive:
                members = [name for name in archive.namelist() if name.endswith(".npy")]
            found = {member.removesuffix(".npy"): _describe(path, member) for member in members}
    except (OSError, zipfile.BadZipFile) as error:
        if path.is_file() and (format_of(head_of(path)) or suffix_of(path.name) in (*SUFFIXES, *ARCHIVES)):
            raise refusal(short_path(path)) from error
        problem = f"{short_path(path)}: it cannot be read: {getattr(error, 'strerror', None) or error}"
        hint = "`dataset.path` is an .npz file, or a folder of .npy files"
        if suffix_of(path.name) in TABLE_KINDS:
            hint = f"a table is read by `dataset: {{name: table, train: {path.name}, target: COLUMN}}`"
        raise TfloopError(problem, hint=hint, code=ExitCode.DATA) from error
    if not found:
        raise TfloopError(f"{short_path(path)}: there are no arrays in it", code=ExitCode.DATA)
    return found | {usual: found[name] for usual, name in usual_names(found).items()}


def _files_in(folder: Path) -> dict[str, Path]:
    """Returns the array files in a folder by the names of the arrays; or those in its only subfolder with such files.

    Raises:
        TfloopError: several subfolders have such files (exit code 4).
    """
    if found := _files_at(folder):
        return found
    inner = [one for one in sorted(folder.rglob("*")) if one.is_dir() and _files_at(one)]
    if len(inner) < 2:
        return _files_at(inner[0]) if inner else {}
    problem = f"{short_path(folder)}: there is one array per file, in {len(inner)} folders such as `{inner[0].name}`"
    hint = "save all examples as one array: numpy.savez('data.npz', x=numpy.stack(inputs), y=targets)"
    raise TfloopError(problem, hint=hint, code=ExitCode.DATA)


def _files_at(folder: Path) -> dict[str, Path]:
    files = {file.stem: file for file in sorted(folder.glob("*.npy"))}
    return files or idx_names([file for file in folder.iterdir() if file.is_file() and is_idx(file.name)])


def choose(found: Mapping[str, StoredArray], path: Path, key: str) -> StoredArray:
    """Returns the array with a name; raises TfloopError (exit code 4) if there is none."""
    if key not in found:
        problem = f"{short_path(path)}: there is no array `{key}`"
        hint = nearest(key, found, "the arrays are")
        if key == "x_train" and len(found) > 1:
            second = next((name for name in found if usual_name(name).startswith("y")), list(found)[1])
            first = next(name for name in found if name != second)
            hint += f"; such as `--set dataset.input={first} --set dataset.target={second}`"
        raise TfloopError(problem, hint=hint, code=ExitCode.DATA)
    return found[key]


def _describe(path: Path, member: str) -> StoredArray:
    """Returns an array by its header, without its values."""
    stored = StoredArray(path, member, (), np.dtype("V"), None)
    try:
        if is_idx(path.name):
            with open_idx(path) as stream:
                shape, dtype = read_header(stream)
                mappable = dtype.isnative and path.suffix != ".gz"
                return StoredArray(path, member, shape, dtype, stream.tell() if mappable else None)
        if not member:
            with path.open("rb") as stream:
                return _from_header(stored, stream, start=0)
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            return _from_header(stored, stream, _start_of(path, archive.getinfo(member)))
    except _READ_ERRORS as error:
        stored.refuse(f"it cannot be read: {error}", error)


def _start_of(path: Path, info: zipfile.ZipInfo) -> int | None:
    """Returns where the bytes of a file in an archive begin; None if they are compressed."""
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    with path.open("rb") as stream:
        stream.seek(info.header_offset + 26)  # the lengths of the name and of the extra field
        lengths = np.frombuffer(stream.read(4), "<u2")
    return info.header_offset + 30 + int(lengths.sum())


def _from_header(stored: StoredArray, stream: IO[bytes], start: int | None) -> StoredArray:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(stream)
    if dtype.hasobject:
        stored.refuse("it has Python objects, not numbers; save it with a dtype such as float32")
    mappable = start is not None and dtype.isnative and not (fortran_order and len(shape) > 1)
    return StoredArray(
        stored.path, stored.member, shape, dtype, start + stream.tell() if start is not None and mappable else None
    )


def _native(array: np.ndarray) -> np.ndarray:
    """Returns an array in the byte order of this machine."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)
