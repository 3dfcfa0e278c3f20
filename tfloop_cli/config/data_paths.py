"""Data that is named on the command line instead of in a config: which files are data, and which preset suits them."""

import glob
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from tfloop_cli.config.data_formats import (
    COMPRESSED,
    IMAGE_SUFFIXES,
    TABLE_KINDS,
    head_of,
    is_cifar,
    is_idx,
    suffix_of,
    table_kind,
)
from tfloop_cli.config.refusals import folder_refusal, refusal
from tfloop_cli.config.unreadable_formats import ARCHIVES, SUFFIXES
from tfloop_cli.errors import ExitCode, TfloopError

STDIN = "-"  # in place of a path
DATA = "data"  # the split that `tfloop evaluate --data` evaluates
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
ARRAY_SUFFIXES = (".npz", ".npy")
CONFIG_SUFFIXES = (".yaml", ".yml")
_DESCRIPTIONS = (
    "features.json",
    "dataset_info.json",
    "dataset_dict.json",
    "state.json",
    "dataset_infos.json",
    "dataset-metadata.json",
)
_SHARD = re.compile(r"-\d+-of-\d+")  # ends the name of one of several files of a split
_PART = re.compile(r"part-\d+")  # begins the name of one of several files of a table
MAX_PLOTS = 3  # images beside tables that are no data
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
    """Whether an argument of the command line is data, and not a config.

    Data is a folder, a pattern, a file with the suffix of a data format, and any other file that does not begin as a
    mapping of YAML.
    """
    suffix, file = suffix_of(argument), Path(argument)
    known = {*TABLE_KINDS, *IMAGE_SUFFIXES, *ARCHIVES, *SUFFIXES, *ARRAY_SUFFIXES}
    if suffix in known or glob.has_magic(argument) or file.is_dir():
        return True
    return file.is_file() and suffix not in CONFIG_SUFFIXES and not _is_config(head_of(file))


def _is_config(head: bytes) -> bool:
    """Whether the first line of a file that is no comment is a key of YAML; or the file is empty."""
    lines = [line for line in head.splitlines() if line.strip() and not line.startswith((b"#", b"---"))]
    return not lines or re.match(rb"\s*[\w.'\"]+\s*:(\s|$)|\{", lines[0]) is not None


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
    known = {*TABLE_KINDS, *COMPRESSED, ".npz", ".zip"}
    while PurePath(name).suffix.lower() in known:
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
        TfloopError: it is one image or one array (exit code 2); it has a format that is not read (4).
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return _dataset_of_file(path)
    names = list(names_in(folder))
    suffixes = set(map(suffix_of, names))
    tables = split_tables(folder)
    images = [name for name in names if suffix_of(name) in IMAGE_SUFFIXES]
    are_plots = tables and len(images) <= MAX_PLOTS and not any("/" in name for name in images)
    if images and not are_plots:
        return "images"
    if ".npy" in suffixes or any(map(is_idx, names)):
        return "arrays"
    if "train" in tables or (tables and ".txt" not in suffixes):
        return "table"
    if any(name.endswith(".txt") and "/" in name for name in names) and not any(map(is_cifar, names)):
        return "text"
    raise folder_refusal(path, names)


def _dataset_of_file(path: str) -> str:
    suffix = suffix_of(path)
    if suffix == ".npz":
        return "arrays"
    if suffix in IMAGE_SUFFIXES:
        raise TfloopError(f"{path}: this is one image", hint="name a folder that has one folder per class")
    if suffix == ".npy" or is_idx(path):
        hint = "name a folder with inputs and targets (x.npy and y.npy), or an .npz file with arrays `x` and `y`"
        raise TfloopError(f"{path}: this is one array", hint=hint)
    if table_kind(path) is None:
        raise refusal(path)
    return "table"


def split_of(name: str) -> str | None:
    """Returns the split that a name in upper or lower case stands for; None for any other name."""
    return next((split for split, names in SPLIT_NAMES.items() if name.lower() in names), None)


def split_within(name: str) -> str | None:
    """Returns the split that a word of a name stands for, as in `seg_train`, `training_set` or `Test2017`."""
    words = re.findall("[a-z]+", re.sub("(?<=[a-z])(?=[A-Z])", " ", name).lower())
    found = {split for word in words if (split := split_of(word.removesuffix("set")))}
    return found.pop() if len(found) == 1 else None


def split_tables(folder: Path) -> dict[str, list[Path]]:
    """Returns the tables in a folder by split: `train.csv`, `test.csv`, or `train-00000-of-00002.parquet`, ...

    Those with other names have the key "". Texts and hidden files are skipped. If there are none, they may be in its
    only subfolder with tables, or in subfolders of splits, as Hugging Face has them.
    """
    tables = _tables_in(folder)
    if not tables:
        inner = {one: own for one in sorted(folder.iterdir()) if one.is_dir() and (own := _tables_in(one))}
        if "train" in map(split_of, (one.name for one in inner)):
            return {split_of(one.name) or "": own for one, own in inner.items()}
        tables = next(iter(inner.values())) if len(inner) == 1 else []
    if tables and all(_PART.match(path.name) for path in tables):  # as Spark writes one table
        return {"train": tables}
    named = {path: split_of(_SHARD.sub("", path.name.split(".")[0])) for path in tables}
    if "train" not in named.values():
        within = {path: split_within(path.name.split(".")[0]) for path in tables}
        splits = [split for split in within.values() if split]
        if "train" in splits and 1 < len(splits) == len(set(splits)):  # mnist_train.csv and mnist_test.csv
            named = within
    found: dict[str, list[Path]] = {}
    for path, split in named.items():
        found.setdefault(split or "", []).append(path)
    return found


def _tables_in(folder: Path) -> list[Path]:
    kinds = TABLE_KINDS.keys() - {".txt"}
    return [
        path
        for path in sorted(folder.iterdir())
        if suffix_of(path.name) in kinds and path.is_file() and not path.name.startswith(".")
        and path.name not in _DESCRIPTIONS
    ]  # fmt: skip


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


def names_in(folder: Path) -> Iterator[str]:
    """Yields the names of the files in a folder and below it, relative to it, up to `MAX_FILES`."""
    left = MAX_FILES
    for root, folders, names in os.walk(folder):
        folders.sort()
        prefix = Path(root).relative_to(folder).as_posix()
        for name in sorted(names)[:left]:
            yield name if prefix == "." else f"{prefix}/{name}"
        left -= len(names)
        if left <= 0:
            return
