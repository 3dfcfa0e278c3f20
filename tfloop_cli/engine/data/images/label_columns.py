"""Which columns of a table have the paths of images and their classes, and to which folders the paths are relative."""

import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path, PurePosixPath, PureWindowsPath

from tfloop_cli.config.data_paths import IMAGE_SUFFIXES
from tfloop_cli.engine.data.split_names import split_of

MAX_FOLDERS = 50  # in which files are looked for
MAX_SAMPLE = 20  # rows whose paths decide which column and which folder it is
DEFAULT_FILE_COLUMN, DEFAULT_TARGET = "file", "label"  # of the dataset's arguments; other names are taken literally
Texts = Callable[[str], Sequence[str]]  # the name of a column -> its cells


def find_file_column(
    names: Sequence[str], texts: Texts, column: str, root: Path, beside: Path
) -> tuple[str, tuple[Path, ...]]:
    """Returns the column of paths, and the folders that they are relative to.

    If there is no column `file`, it is the only one whose cells are image files. The folders are that of the images and
    that of the table; if the files are in neither, also all below it, unless names occur in several of these; else the
    folder of the training split.

    Args:
        names: of the columns.
        texts: returns the cells of one.
        column: the name that is set.
        root: the folder of the images.
        beside: the folder of the table.
    """
    candidates = [column] if column in names or column != DEFAULT_FILE_COLUMN else names
    samples = {name: _sample(texts(name)) for name in candidates if name in names}
    own = (root, beside)
    for more, once in _further_folders(root):
        found = [name for name in samples if _exist(samples[name], more or own, once)]
        if len(found) > 1:  # a number may be the name of a file without its suffix
            found = [name for name in found if any(Path(text).suffix for text in samples[name])]
        if len(found) == 1:
            return found[0], (*own, *more)
    return column, own


def find_target_column(names: Sequence[str], column: str, others: Sequence[str]) -> str:
    """Returns the column of classes: if there is no column `label`, the only one that is left beside `others`."""
    left = [name for name in names if name not in others and name and not name.startswith("Unnamed: ")]
    return left[0] if column not in names and column == DEFAULT_TARGET and len(left) == 1 else column


def path_of(folders: Sequence[Path], name: str) -> tuple[str, bool]:
    """Returns the path of a file that a table names, and whether only its last parts are on this machine.

    Paths are relative to one of the folders, maybe without suffix, and may be written as Windows does.
    """
    for moved, spellings in ((False, _spellings), (True, _last_parts)):
        for written, suffix, folder in product(spellings(name), ("", *IMAGE_SUFFIXES), folders):
            if os.path.lexists(path := folder / f"{written}{suffix}") and not path.is_dir():
                return str(path), moved
    return str(folders[0] / name), False


def _sample(texts: Sequence[str]) -> list[str]:
    return [text for text in texts[: 10 * MAX_SAMPLE] if text.strip()][:MAX_SAMPLE]


def _exist(sample: Sequence[str], folders: Sequence[Path], once: bool) -> bool:
    """Whether at least half of the cells are different names of files; the others may be missing.

    With `once`, none of them may be in several folders.
    """
    counts = [sum(os.path.lexists(path_of([one], name)[0]) for one in folders) for name in set(sample)]
    return bool(sample) and 2 * sum(map(bool, counts)) >= len(sample) and (not once or max(counts) == 1)


def _further_folders(root: Path) -> Iterator[tuple[tuple[Path, ...], bool]]:
    """Yields folders in which files are looked for, the likeliest first, and whether each file must be in one alone."""
    yield (), False
    below: list[Path] = []
    for folder, names, _ in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        below += [Path(folder, name) for name in names]
        if len(below) > MAX_FOLDERS:
            break
    else:
        yield tuple(below), True
    yield tuple(one for one in below if one.parent == root and split_of(one.name) == "train"), False


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
