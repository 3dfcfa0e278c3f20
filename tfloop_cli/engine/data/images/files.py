"""The files in a folder of images: which are used, and which are ignored."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from tfloop_cli.config.data_formats import IMAGE_SUFFIXES, TABLE_KINDS, suffix_of
from tfloop_cli.config.refusals import refusal
from tfloop_cli.config.unreadable_formats import ARCHIVES
from tfloop_cli.engine.data.images.formats import HEAD_BYTES, format_of
from tfloop_cli.engine.data.images.listing import Listed, Listing
from tfloop_cli.engine.data.images.problems import invalid_image
from tfloop_cli.engine.data.invalid_examples import skip_example
from tfloop_cli.engine.data.problems import refuse

_OTHER_SUFFIXES = (
    ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".htm", ".log", ".ini",
    ".url", ".pdf", ".names", ".cfg", ".toml", ".svg", ".svgz", ".eps", ".ai", ".psd", ".xcf", ".py", ".js", ".css",
    ".zip", ".gz", ".npy", ".npz",
)  # fmt: skip
_UNREADABLE_SUFFIXES = (  # of images
    ".arw", ".cr2", ".dcm", ".dds", ".dng", ".exr", ".hdr", ".jp2", ".j2k", ".nef", ".pcx", ".ras", ".raw", ".tga",
    ".xbm", ".xpm",
)  # fmt: skip
_SYSTEM_NAMES = ("__macosx", "thumbs.db", "desktop.ini")


@dataclass
class Scanner:
    """Finds image files in folders, and counts the files that are ignored.

    Attributes:
        ignored: path of a file or folder that is ignored -> its name or suffix, as it is counted.
    """

    ignored: dict[str, str] = field(default_factory=dict)

    def folders(self, folder: Path) -> list[os.DirEntry[str]]:
        """Returns the subfolders of a folder by name, without hidden ones and `__MACOSX`."""
        return [one for one in self._entries(folder) if os.path.isdir(one) or _is_dead_folder(one)]  # noqa: PTH112

    def images(self, split: str, folder: Path, *, deep: bool = True) -> Listing:
        """Returns the images in a folder by name, with those of its subfolders if `deep`.

        A link to a missing file is an invalid example of the split.

        Raises:
            TfloopError: a folder cannot be read, or a file has a format of images that is not supported (exit code 4).
        """
        entries = self._walk(folder, "", (), deep)
        return Listing(folder, (found for entry, name in entries if (found := self._listed(split, entry, name))))

    def paths(self, folder: Path) -> Iterator[str]:
        """Yields the paths of the files in a folder by name, with those of its subfolders, without texts and others.

        Unlike `images`, a file that is no image is one of them, and nothing is kept.

        Raises:
            TfloopError: a folder cannot be read (exit code 4).
        """
        for entry, _ in self._walk(folder, "", (), True):
            if Path(entry.name).suffix.lower() not in _OTHER_SUFFIXES:
                yield entry.path

    def may_have_images(self, folder: Path) -> bool:
        """Whether a folder or one below it has a file that is not ignored by its name."""
        return any(True for _ in self.paths(folder))

    def _walk(
        self, folder: Path, prefix: str, above: tuple[tuple[int, int], ...], deep: bool
    ) -> Iterator[tuple[os.DirEntry[str], str]]:
        for entry in self._entries(folder):
            name = f"{prefix}{entry.name}"
            if not os.path.isdir(entry):  # noqa: PTH112
                yield entry, name
            elif deep:
                status = os.stat(entry)  # noqa: PTH116
                here = (status.st_dev, status.st_ino)
                if here not in above:  # a link to a folder that contains it
                    yield from self._walk(Path(entry.path), f"{name}/", (*above, here), deep)

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """Returns the entries of a folder by name, without hidden files and those of operating systems."""
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            _refuse_folder(folder, error)
        used = []
        for entry in entries:
            if entry.name.startswith("."):
                self.ignored[entry.path] = "hidden"
            elif entry.name.lower() in _SYSTEM_NAMES:
                self.ignored[entry.path] = entry.name
            else:
                used.append(entry)
        return used

    def _listed(self, split: str, entry: os.DirEntry[str], name: str) -> Listed | None:
        suffix = Path(entry.name).suffix.lower()
        if suffix in _OTHER_SUFFIXES:
            return self._ignore(entry, suffix)
        if (status := _status(entry.path)) is None:
            skip_example(split, invalid_image(entry.path, "it is not a file, or a link to a missing one"))
            return None
        if suffix not in IMAGE_SUFFIXES and not _has_image_format(entry.path):
            if suffix in _UNREADABLE_SUFFIXES:
                refuse(entry.path, None, f"{suffix} files cannot be read", hint="convert it to PNG, or remove it")
            return self._ignore(entry, suffix or "without suffix")
        return Listed(entry.path, name, status.st_size, status.st_mtime_ns)

    def _ignore(self, entry: os.DirEntry[str], kind: str) -> None:
        self.ignored[entry.path] = kind


def file_at(split: str, path: str, name: str, hint: str) -> Listed | None:
    """Returns an image file that something else names; one that is missing is an invalid example of the split."""
    if (status := _status(path)) is None:
        skip_example(split, invalid_image(path, "it is not a file, or a link to a missing one", hint))
        return None
    return Listed(path, name, status.st_size, status.st_mtime_ns)


def _refuse_folder(folder: Path, error: OSError) -> NoReturn:
    hint = "images belong in train/CLASS/ and test/CLASS/, or in CLASS/"
    if isinstance(error, FileNotFoundError):
        refuse(str(folder), None, "this folder does not exist", hint=hint)
    if not folder.is_file():
        refuse(str(folder), None, f"this folder cannot be read: {error.strerror}", hint=hint)
    if suffix_of(folder.name) in ARCHIVES:
        raise refusal(str(folder))
    if folder.suffix.lower() in TABLE_KINDS:
        hint = f"a table of paths and classes: name its folder, and `--set dataset.labels={folder.name}`"
    refuse(str(folder), None, "this is a file, not a folder of images", hint=hint)


def _status(path: str) -> os.stat_result | None:
    """Returns size and time of a file, or of the one that a link points to; None if it is not a file."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _is_dead_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a link to a missing folder, which is an error where the folder is used."""
    return entry.is_symlink() and not os.path.exists(entry.path) and not Path(entry.name).suffix  # noqa: PTH110


def _has_image_format(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return format_of(file.read(HEAD_BYTES)) is not None
    except OSError as error:
        refuse(path, None, f"it cannot be read: {error.strerror}")
