"""Data that is named on the command line instead of in a config: which files are data, and which preset suits them."""

import glob
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from tfloop_cli.errors import TfloopError

COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}  # suffix -> what pyarrow calls it
TABLE_KINDS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".dat": "csv", ".data": "csv", ".json": "json", ".jsonl": "jsonl",
    ".ndjson": "jsonl", ".parquet": "parquet", ".feather": "feather", ".arrow": "feather", ".xlsx": "excel",
    ".xlsm": "excel", ".xls": "excel", ".ods": "excel",
}  # fmt: skip
IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif", ".heic",
    ".heif",
)  # fmt: skip
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".7z", ".rar")
PRESETS = {  # dataset -> the built-in config that suits it, and the argument that names the data
    "images": ("images", "path"),
    "table": ("tabular", "train"),
    "text": ("text", "train"),
    "arrays": ("tabular", "path"),
}
MAX_FILES = 1000  # of a folder that decide what it contains


def is_data(argument: str) -> bool:
    """Whether an argument of the command line is data, and not a config: a folder, a data file or a pattern of them."""
    suffix = _suffix(argument)
    return (
        suffix in (*TABLE_KINDS, *IMAGE_SUFFIXES, *ARCHIVE_SUFFIXES, ".npz")
        or glob.has_magic(argument)
        or Path(argument).is_dir()
    )


def data_layers(path: str | None, dataset: str | None, target: str | None, preset: bool) -> tuple[list[str], list[str]]:
    """Returns the configs and the `--set` assignments for data on the command line.

    Args:
        path: of the data, as typed; None if a config names it.
        dataset: the name of the dataset; None to choose it by the files.
        target: the column to predict, or a YAML list of columns; None for what the config or the file says.
        preset: whether to begin with the built-in config that suits the data.

    Raises:
        TfloopError: a folder has no data that is known (exit code 2).
    """
    name = dataset or (dataset_of(path) if path else None)
    values = {"name": name} if name else {}
    if path and name:
        values[_argument_of(name, path)] = path
    sets = [f"dataset={json.dumps(values, ensure_ascii=False)}"] if values else []
    if target:
        quoted = target if target.startswith("[") else json.dumps(target, ensure_ascii=False)
        sets.append(f"dataset.target={quoted}")
    return [PRESETS.get(name, ("tabular",))[0]] if preset and name else [], sets


def lacks_target(sets: Sequence[str], configs: Sequence[str]) -> bool:
    """Whether data on the command line is a table, and nothing names the column to predict.

    Args:
        sets: of `data_layers`, and those of the user.
        configs: of the user; one of them may name the column.
    """
    named = any(text.startswith("dataset.target=") or "target:" in text for text in sets)
    return not configs and not named and any('"name": "table"' in text for text in sets)


def dataset_of(path: str) -> str:
    """Returns the dataset that reads a file or a folder: `images`, `table`, `text` or `arrays`.

    Raises:
        TfloopError: a folder has none of their files, or the file is an image or an archive (exit code 2).
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        if _suffix(path) in ARCHIVE_SUFFIXES:
            raise TfloopError(f"{path}: this is an archive", hint="unpack it, and name the folder or the file in it")
        if _suffix(path) in IMAGE_SUFFIXES:
            raise TfloopError(f"{path}: this is one image", hint="name a folder that has one folder per class")
        return "arrays" if _suffix(path) == ".npz" else "table"
    suffixes = set(_suffixes(folder))
    if suffixes.intersection(IMAGE_SUFFIXES):
        return "images"
    found = next((name for suffix, name in ((".npy", "arrays"), (".txt", "text")) if suffix in suffixes), None)
    if found is None:
        hint = "name the file of a table, or the dataset: `--dataset NAME` (`tfloop list datasets`)"
        raise TfloopError(f"{path}: there are no images, no texts and no arrays in this folder", hint=hint)
    return found


def _argument_of(dataset: str, path: str) -> str:
    if dataset not in PRESETS:
        hint = f"with a path, use {', '.join(PRESETS)}; else set its arguments with `--set dataset.NAME=VALUE`"
        raise TfloopError(f"{path}: the dataset `{dataset}` does not read a file", hint=hint)
    return PRESETS[dataset][1]


def _suffix(path: str) -> str:
    """Returns the suffix of a file in lower case, without that of its compression."""
    suffixes: Sequence[str] = [suffix.lower() for suffix in PurePath(path).suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes = suffixes[:-1]
    return suffixes[-1] if suffixes else ""


def _suffixes(folder: Path) -> Iterator[str]:
    """Yields the suffixes of the files in a folder, up to `MAX_FILES`."""
    left = MAX_FILES
    for _, _, names in os.walk(folder):
        for name in names[:left]:
            yield _suffix(name)
        left -= len(names)
        if left <= 0:
            return
