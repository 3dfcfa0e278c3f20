"""The folders of splits in a folder."""

from collections.abc import Sequence
from pathlib import Path

from tfloop_cli.config.data_paths import SPLIT_NAMES, split_of, split_within
from tfloop_cli.engine.data.problems import refuse
from tfloop_cli.errors import short_path

__all__ = ["SPLIT_NAMES", "split_folders", "split_of", "split_within"]


def split_folders(
    root: Path, folders: Sequence[str], training: bool = True, *, may_have_no_train: bool = False
) -> dict[str, Path]:
    """Returns the folder of each split in the order of `SPLIT_NAMES`; {} if `root` itself is the training split.

    If no folder is called like a split, their names may contain one: `seg_train` with `seg_test`. A class may be called
    `freight_train`, so one folder for training and at least one other split are needed.

    Args:
        root: a folder.
        folders: the names of its subfolders.
        training: whether the training split is needed.
        may_have_no_train: whether `root` is the training split even if all its subfolders are called like others.

    Raises:
        TfloopError: two folders are the same split, or there are other splits only (exit code 4).
    """
    found: dict[str, str] = {}
    for name in folders:
        split = split_of(name)
        if split and split in found:
            problem = f"`{found[split]}` and `{name}` are both the {split} split"
            refuse(short_path(root), None, problem, hint="rename one of them, or move its files into the other")
        if split:
            found[split] = name
    if "train" in found or (found and not training):
        return {split: root / found[split] for split in SPLIT_NAMES if split in found}
    within = [split for name in folders if (split := split_within(name))]
    if not found and "train" in within and 1 < len(within) == len(set(within)):
        return {split: root / name for split in SPLIT_NAMES for name in folders if split_within(name) == split}
    if found and not may_have_no_train and len(found) == len(folders):
        listed = ", ".join(f"`{name}`" for name in found.values())
        refuse(short_path(root), None, f"it has {listed}, but no `train`", hint="rename the training folder to `train`")
    return {}
