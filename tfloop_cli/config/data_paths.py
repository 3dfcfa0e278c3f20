"""Data that is named on the command line instead of in a config: which files are data, and which preset suits them."""

import glob
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from tfloop_cli.errors import ExitCode, TfloopError

STDIN = "-"  # in place of a path
DATA = "data"  # the split that `tfloop evaluate --data` evaluates
COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}  # suffix -> what pyarrow calls it
TABLE_KINDS = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".txt": "csv", ".dat": "csv", ".data": "csv", ".arff": "csv",
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".feather": "feather",
    ".arrow": "feather", ".xlsx": "excel", ".xlsm": "excel", ".xls": "excel", ".ods": "excel",
}  # fmt: skip
IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif", ".heic",
    ".heif", ".pgm", ".ppm", ".pbm", ".pnm",
)  # fmt: skip
UNREADABLE_SUFFIXES = (  # of tables
    ".dta", ".sav", ".sas7bdat", ".xpt", ".rda", ".rdata", ".rds", ".pkl", ".pickle", ".h5", ".hdf5", ".orc", ".avro",
    ".sqlite", ".db", ".mat", ".html", ".xml",
)  # fmt: skip
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".7z", ".rar")
PRESETS = {  # dataset -> the built-in config that suits it, and the argument that names the data
    "images": ("images", "path"),
    "table": ("tabular", "train"),
    "text": ("text", "train"),
    "arrays": ("tabular", "path"),
}
SPLIT_NAMES = {  # how folders, files and arrays of splits are called, the same for every dataset
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing"),
}
_SHARD = re.compile(r"-\d+-of-\d+")  # ends the name of one of several files of a split
MAX_FILES = 1000  # of a folder that decide what it contains


@dataclass(frozen=True)
class Layers:
    """What configs, data and options of the command line mean for `loading.load`.

    Attributes:
        configs: the configs, or the built-in config that suits the data.
        sets: the `--set` assignments, with those that name the data.
        name: what the name of a run begins with, from that of the data; None if it is that of a config.
    """

    configs: list[str]
    sets: list[str]
    name: str | None = None


def is_data(argument: str) -> bool:
    """Whether an argument of the command line is data, and not a config: a folder, a data file or a pattern of them."""
    known = (*TABLE_KINDS, *IMAGE_SUFFIXES, *ARCHIVE_SUFFIXES, *UNREADABLE_SUFFIXES, ".npz", ".npy")
    return suffix_of(argument) in known or glob.has_magic(argument) or Path(argument).is_dir()


def data_sets(path: str | None, dataset: str | None, target: str | None) -> list[str]:
    """Returns the `--set` assignments for data on the command line.

    Args:
        path: of the data, as typed; None if a config names it.
        dataset: the name of the dataset; None for that of the config.
        target: the column to predict, or a YAML list of columns; None for what the config or the file says.

    Raises:
        TfloopError: the dataset does not read a path (exit code 2).
    """
    values = {"name": dataset} if dataset else {}
    if path and dataset:
        values[_argument_of(dataset, path)] = path
    sets = [f"dataset={json.dumps(values, ensure_ascii=False)}"] if values else []
    if target:
        quoted = target if target.startswith("[") else json.dumps(target, ensure_ascii=False)
        sets.append(f"dataset.target={quoted}")
    return sets


def preset_of(dataset: str | None) -> str:
    """Returns the built-in config that suits a dataset."""
    return PRESETS.get(dataset or "", ("tabular",))[0]


def name_of(path: str) -> str | None:
    """Returns the name of data, without its suffixes; None for a pattern."""
    if glob.has_magic(path) and not Path(path).exists():
        return None
    name = Path(path).expanduser().resolve().name
    while (suffix := PurePath(name).suffix.lower()) in TABLE_KINDS or suffix in COMPRESSED or suffix == ".npz":
        name = PurePath(name).stem
    return name


def lacks_target(sets: Sequence[str], configs: Sequence[str]) -> bool:
    """Whether data on the command line is a table, and nothing names the column to predict.

    Args:
        sets: of `data_sets`, and those of the user.
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
        if suffix_of(path) in ARCHIVE_SUFFIXES:
            raise TfloopError(f"{path}: this is an archive", hint="unpack it, and name the folder or the file in it")
        if suffix_of(path) in IMAGE_SUFFIXES:
            raise TfloopError(f"{path}: this is one image", hint="name a folder that has one folder per class")
        return "arrays" if suffix_of(path) == ".npz" else "table"
    suffixes = set(_suffixes(folder))
    tables = split_tables(folder)
    if suffixes.intersection(IMAGE_SUFFIXES):
        return "images"
    if ".npy" in suffixes:
        return "arrays"
    if "train" in tables or (tables and ".txt" not in suffixes):
        return "table"
    if ".txt" in suffixes:
        return "text"
    hint = "name the file of a table, or the dataset: `--dataset NAME` (`tfloop list datasets`)"
    raise TfloopError(f"{path}: there are no images, tables, texts or arrays in this folder", hint=hint)


def split_of(name: str) -> str | None:
    """Returns the split that a name in upper or lower case stands for; None for any other name."""
    return next((split for split, names in SPLIT_NAMES.items() if name.lower() in names), None)


def split_tables(folder: Path) -> dict[str, list[Path]]:
    """Returns the tables in a folder by split: `train.csv`, `test.csv`, or `train-00000-of-00002.parquet`, ...

    Those with other names have the key "". Texts and hidden files are skipped.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if suffix_of(path.name) in TABLE_KINDS.keys() - {".txt"} and path.is_file() and not path.name.startswith("."):
            stem = _SHARD.sub("", path.name.split(".")[0])
            found.setdefault(split_of(stem) or "", []).append(path)
    return found


def has_folders_of_images(path: str) -> bool:
    """Whether a folder has folders with images in them: classes, or splits."""
    root = Path(path).expanduser()
    folders = (entry for entry in root.iterdir() if entry.is_dir())
    return any(suffix in IMAGE_SUFFIXES for folder in folders for suffix in _suffixes(folder))


def _argument_of(dataset: str, path: str) -> str:
    if dataset not in PRESETS:
        hint = f"with a path, use {', '.join(PRESETS)}; else set its arguments with `--set dataset.NAME=VALUE`"
        raise TfloopError(f"{path}: the dataset `{dataset}` does not read a file", hint=hint)
    return PRESETS[dataset][1]


def paths_of(name: str) -> list[str]:
    """Returns the paths that an argument names: a path, or a pattern.

    Raises:
        TfloopError: there is none (exit code 4).
    """
    path = Path(name).expanduser()
    if path.exists():
        return [str(path)]
    if glob.has_magic(name):
        if found := sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207 (absolute)
            return found
        raise TfloopError(f"{name}: this pattern finds no file", code=ExitCode.DATA)
    hint = 'a text is given on stdin, as {"text": "..."}: `tfloop predict RUN -`' if " " in name else None
    raise TfloopError(f"{name}: this file does not exist", hint=hint, code=ExitCode.DATA)


def suffix_of(path: str) -> str:
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
            yield suffix_of(name)
        left -= len(names)
        if left <= 0:
            return
