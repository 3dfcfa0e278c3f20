"""The files of a table: names, globs and stdin, and what is in them."""

import difflib
import glob
import io
import lzma
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tfloop_cli.config.data_formats import compression_of, table_kind, zipped_table
from tfloop_cli.config.data_paths import SPLIT_NAMES, split_tables
from tfloop_cli.config.data_paths import STDIN as STDIN
from tfloop_cli.config.refusals import refusal
from tfloop_cli.engine.data.problems import refuse
from tfloop_cli.errors import short_path

_SHOWN = 5  # files that a message names


@dataclass(frozen=True)
class TableFile:
    """One file.

    Attributes:
        name: as the user wrote it, or as a pattern found it; "-" for stdin.
        kind: see `table_kind`.
        content: what was read from stdin; None for a file.
        member: the file in a zip archive that has the table; "" if the file is no archive.
    """

    name: str
    kind: str
    content: bytes | None = None
    member: str = ""

    @property
    def path(self) -> Path:
        """The path of the file."""
        return Path(self.name).expanduser()

    def open(self) -> pa.NativeFile:
        """Opens the file; its content is decompressed.

        Raises:
            OSError: the file cannot be read.
        """
        if self.content is not None:
            return pa.input_stream(pa.BufferReader(self.content))
        if self.member:
            return pa.input_stream(zipfile.ZipFile(self.path).open(self.member))
        compression = compression_of(self.path)
        if compression == "xz":
            return pa.input_stream(lzma.open(self.path))
        return pa.input_stream(str(self.path), compression=compression)

    @property
    def is_plain(self) -> bool:
        """Whether the bytes on the disk are the content."""
        return self.content is None and not self.member and compression_of(self.path) is None

    def head(self, size: int) -> bytes:
        """Returns the first bytes of the content."""
        with self.open() as stream:
            return stream.read(size)

    def may_have(self, character: str) -> bool:
        """Whether the content has an ASCII character; a compressed file is not searched, and may."""
        if not self.is_plain:
            return self.content is None or character.encode() in self.content
        with self.path.open("rb", buffering=0) as stream:
            return any(character.encode() in part for part in iter(lambda: stream.read(2**20), b""))

    def text(self, encoding: str, errors: str = "strict") -> io.TextIOWrapper:
        """Opens the content as text; line ends are kept. `errors`: see `open`."""
        encoding = "utf-8-sig" if encoding == "utf-8" else encoding
        return io.TextIOWrapper(self.open(), encoding=encoding, errors=errors, newline="")


def csv_memory() -> pa.MemoryPool:
    """Returns where the rows of text files are kept: jemalloc, if this pyarrow has it.

    pyarrow's default, mimalloc, asks for huge pages. Linux needs nearly a second for them if free memory is fragmented.
    """
    return pa.jemalloc_memory_pool() if "jemalloc" in pa.supported_memory_backends() else pa.default_memory_pool()


def file_names(paths: Path | list[Path]) -> list[str]:
    """Returns the names of one or several paths, as messages show them."""
    return [short_path(path) for path in (paths if isinstance(paths, list) else [paths])]


def is_folder_of_tables(path: Path) -> bool:
    """Whether a path is a folder with a table for training; see `split_tables`."""
    return path.expanduser().is_dir() and "train" in split_tables(path.expanduser())


def find_splits(path: Path, training: bool = True) -> dict[str, list[Path]]:
    """Returns the files of each split in a folder, in the order of `SPLIT_NAMES`; a file is the training split.

    Args:
        path: a file or folder.
        training: whether the training split is needed.

    Raises:
        TfloopError: a folder has several tables and none for training, or two for a split (exit code 4).
    """
    if not path.expanduser().is_dir():
        return {"train": [path]}
    found = split_tables(path.expanduser())
    tables = [table for one in found.values() for table in one]
    if len(tables) == 1:
        return {"train": tables}
    if "train" not in found and training:
        names = ", ".join(f"`{table.name}`" for table in tables[:_SHOWN])
        problem = f"there is no training file in this folder, only {names}" if tables else "there is no table in it"
        every = f"; parts of one table are a pattern: '{path}/*{tables[0].suffix}'" if tables else ""
        refuse(short_path(path), None, problem, hint=f"name a file, or call one `train.csv`{every}")
    for split, files in found.items():
        stems = {file.name.split(".")[0] for file in files}
        if split and len(files) > 1 and not all("-of-" in stem or stem.startswith("part-") for stem in stems):
            names = " and ".join(f"`{file.name}`" for file in files[:_SHOWN])
            refuse(short_path(path), None, f"{names} are both the {split} split", hint="name the files in the config")
    return {split: found[split] for split in SPLIT_NAMES if split in found}


def other_tables(path: Path) -> list[Path]:
    """Returns the files of other data: a file, or those of a folder: its only table, else its test split.

    Raises:
        TfloopError: a folder has several tables, and none of them is `test` (exit code 4).
    """
    if not path.expanduser().is_dir():
        return [path]
    found = split_tables(path.expanduser())
    tables = [table for one in found.values() for table in one]
    if len(tables) != 1 and "test" not in found:
        names = ", ".join(f"`{table.name}`" for table in tables[:_SHOWN]) or "no table"
        refuse(short_path(path), None, f"which table of this folder? It has {names}", hint="name the file")
    return tables if len(tables) == 1 else found["test"]


def find_files(names: str | Sequence[str]) -> list[TableFile]:
    """Returns the files of a split, in order: those of a pattern are sorted by name.

    Args:
        names: one or several paths, patterns (`data/*.csv`), or "-" for stdin.

    Raises:
        TfloopError: a pattern finds nothing, a file does not exist or is of another type (exit code 4).
    """
    found = []
    for name in [names] if isinstance(names, str) else names:
        if name == STDIN:
            found.append(_stdin())
            continue
        path = str(Path(name).expanduser())
        is_pattern = glob.has_magic(path) and not Path(path).exists()
        paths = sorted(glob.glob(path, recursive=True)) if is_pattern else [name]  # noqa: PTH207 (absolute)
        if not paths:
            refuse(name, None, "this pattern finds no file")
        found += [_file(one) for one in paths]
    if not found:
        refuse("train", None, "this list of files is empty")
    for file in found:
        if file.content is None and not file.path.is_file():
            problem = "this is a folder" if file.path.is_dir() else "this file does not exist"
            refuse(file.name, None, f"it cannot be read: {problem}", hint=_nearest(file.path))
    return found


def _file(name: str) -> TableFile:
    kind = table_kind(name)
    path = Path(name).expanduser()
    if kind is None and path.is_file():
        raise refusal(name)
    member = (zipped_table(path) or "") if kind != "excel" else ""
    return TableFile(name, kind or "", member=member)


def _stdin() -> TableFile:
    content = sys.stdin.buffer.read()
    start = content[:100].lstrip()
    kind = {b"{": "jsonl", b"[": "json"}.get(start[:1], "csv")
    return TableFile(STDIN, "parquet" if start.startswith(b"PAR1") else kind, content)


def _nearest(path: Path) -> str | None:
    if not path.parent.is_dir():
        return None
    close = difflib.get_close_matches(path.name, (entry.name for entry in path.parent.iterdir()), n=1)
    return f"did you mean `{path.parent / close[0]}`?" if close else None
