"""Finds the files that a table names: in which folders they are, and how their paths are written."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path, PurePosixPath, PureWindowsPath

from tfloop_cli.config.data_formats import IMAGE_SUFFIXES
from tfloop_cli.engine.data.split_names import split_of

FOUND = 0.5  # the least fraction of names that are files; the others may be missing
MAX_SAMPLE, MAX_FOLDERS = 100, 50  # names that decide in which folders files are looked for, and of these


def folders_of(root: Path, beside: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Returns the folders that names of files are relative to.

    They are the folder of the images and that of the table; if the files are in neither, also all below it, unless a
    name is in several of these; else that of the training split.

    Args:
        root: the folder of the images.
        beside: the folder of the table.
        names: of files.
    """
    own, sample = tuple(dict.fromkeys((root, beside))), list(dict.fromkeys(names[:MAX_SAMPLE]))
    if not sample or _fraction(sample, own) >= FOUND:
        return own
    below = _folders_below(root)
    if _fraction(sample, below, once=True) >= FOUND:
        return (*own, *below)
    train = tuple(one for one in below if one.parent == root and split_of(one.name) == "train")
    return (*own, *train) if _fraction(sample, train) >= FOUND else own


def path_of(folders: Sequence[Path], name: str) -> tuple[str, bool]:
    """Returns the path of a file that a table names, and whether only its last parts are on this machine.

    Paths are relative to one of the folders, maybe without suffix, and may be written as Windows does.
    """
    for moved, spellings in ((False, _spellings), (True, _last_parts)):
        for written, suffix, folder in product(spellings(name), ("", *IMAGE_SUFFIXES), folders):
            if os.path.lexists(path := folder / f"{written}{suffix}") and not path.is_dir():
                return str(path), moved
    return str(folders[0] / name), False


def _fraction(names: Sequence[str], folders: Sequence[Path], once: bool = False) -> float:
    """Returns the fraction of names that are in the folders; with `once`, 0 if one of them is in several."""
    counts = [sum(os.path.lexists(path_of([one], name)[0]) for one in folders) for name in names]
    return 0.0 if once and max(counts) > 1 else sum(map(bool, counts)) / len(names)


def _folders_below(root: Path) -> tuple[Path, ...]:
    """Returns the folders in a folder and below it, without hidden ones, of which there are not too many."""
    found: list[Path] = []
    for folder, names, _ in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        found += [Path(folder, name) for name in names]
        if len(found) > MAX_FOLDERS:
            return tuple(one for one in found if one.parent == root)[:MAX_FOLDERS]
    return tuple(found)


def _spellings(name: str) -> Iterator[str]:
    yield name
    yield (stripped := name.strip())
    yield from (unicodedata.normalize(form, stripped) for form in ("NFC", "NFD"))
    if "\\" in name:
        yield PureWindowsPath(stripped).as_posix()


def _last_parts(name: str) -> Iterator[str]:
    """Yields the last parts of an absolute path, as many as possible first."""
    path = (PureWindowsPath if "\\" in name else PurePosixPath)(name.strip())
    if path.is_absolute():
        yield from ("/".join(path.parts[first:]) for first in range(1, len(path.parts)))
