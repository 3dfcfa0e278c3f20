"""The errors for files and folders that no dataset reads: what they are, and what to do."""

import lzma
import shlex
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path, PurePath

from tfloop_cli.config.data_formats import IMAGE_SUFFIXES, head_of, is_cifar, suffix_of, zip_members
from tfloop_cli.config.unreadable_formats import ARCHIVES, FORMATS, format_of, is_binary
from tfloop_cli.errors import ExitCode, TfloopError

_SHOWN = 4  # names that a message has
_TRIED = 50  # files of an archive that show what it is
_TABLE_OF = (
    'cd {{folder}} && (echo file,label; for f in *{suffix}; do echo "${{{{f%{suffix}}}}}{{image}},$({command} "$f")"; '
    "done) > labels.csv; cd .."
)
_SORT = {  # suffix of the files with classes in a WebDataset -> the command that makes a table of them
    ".cls": _TABLE_OF.format(suffix=".cls", command="cat"),
    ".json": _TABLE_OF.format(suffix=".json", command="jq -r .label"),
    ".txt": _TABLE_OF.format(suffix=".txt", command="cat"),
}
_ALL = "docs/data-formats.md has all formats"


def refusal(path: str) -> TfloopError:
    """Returns the error for a file that cannot be read (exit code 4): what it is, and what to do."""
    file, suffix = Path(path).expanduser(), suffix_of(path)
    head = head_of(file) if file.is_file() else b""
    if suffix in (".npz", ".npy"):
        return _error(f"{path}: these are arrays, and not a table", "`dataset: {name: arrays, path: ...}` reads them")
    by_content = ".tar" if head[257:262] == b"ustar" else ".zip" if head.startswith(b"PK\x03\x04") else ""
    found = format_of(head) or next((one for one in FORMATS if suffix in one.suffixes), None)
    if found is None and (suffix in ARCHIVES or by_content):
        return _archive(path, by_content or suffix)
    if found is None:
        name = suffix or PurePath(path).name
        what = "this is a binary file of an unknown format" if is_binary(head) else f"`{name}` files cannot be read"
        return _error(f"{path}: {what}", _ALL)
    return _error(f"{path}: this is {found.what}", _filled(found.hint, path))


def folder_refusal(folder: str, names: Iterable[str]) -> TfloopError:
    """Returns the error for a folder without data that is known (exit code 4): what is in it, and what to do.

    Args:
        folder: as the user typed it.
        names: of some files in the folder and below it.
    """
    names = list(names)
    if any(map(is_cifar, names)):
        hint = "`tfloop train images --set dataset=cifar10` trains on the same images, from TensorFlow Datasets"
        return _error(f"{folder}: this is CIFAR-10 or CIFAR-100 as its authors wrote it", hint)
    problem = f"{folder}: there are no images, tables, texts or arrays in this folder"
    suffixes = Counter(suffix_of(name) or "without suffix" for name in names)
    listed = ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common(_SHOWN))
    problem += f", only {listed}" if names else ": it is empty"
    for suffix, _ in suffixes.most_common():
        example = str(Path(folder, next((name for name in names if suffix_of(name) == suffix), "")))
        if suffix in ARCHIVES:
            return _error(problem, _archive(example, suffix).problems[0].hint)
        if found := next((one for one in FORMATS if suffix in one.suffixes), None):
            return _error(f"{problem}; {suffix} is {found.what}", _filled(found.hint, example))
    hint = f"name the file of a table, or the dataset: `--dataset NAME` (`tfloop list datasets`); {_ALL}"
    if len(suffixes) == 1 and any("/" in name for name in names):
        hint = f"texts are called .txt: find {folder} -type f -exec mv {{}} {{}}.txt \\;; {_ALL}"
    return _error(problem, hint)


def _archive(path: str, suffix: str) -> TfloopError:
    members = zip_members(Path(path).expanduser()) if suffix == ".zip" else []
    names = ", ".join(members[:_SHOWN]) + (", ..." if len(members) > _SHOWN else "")
    what = f"this is an archive{f' of {len(members):,} files: {names}' if members else ''}"
    folder = shlex.quote(PurePath(path).name.split(".")[0])
    command = ARCHIVES[suffix].format(file=shlex.quote(path), folder=folder)
    if pair := _images_with_classes(path):
        image, label = pair
        return _error(
            f"{path}: this is a WebDataset: images with their classes in {label} files",
            (f"unpack it: {command}; {_SORT[label].format(folder=folder, image=image)}; then name the folder {folder}"),
        )
    return _error(f"{path}: {what}", f"unpack it: {command}; then name the folder {folder}")


def _images_with_classes(path: str) -> tuple[str, str] | None:
    """Returns the suffixes of an image and its class, if an archive has them in two files, as WebDataset does."""
    file = Path(path).expanduser()
    try:
        with tarfile.open(file) as archive:
            names = [PurePath(one.name) for one in islice(archive, _TRIED) if one.isfile()]
    except (OSError, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError):
        return None
    suffixes: dict[str, list[str]] = {}
    for name in names:
        suffixes.setdefault(str(name.parent / name.name.split(".")[0]), []).append(name.suffix.lower())
    for found in suffixes.values():
        image = next((one for one in found if one in IMAGE_SUFFIXES), None)
        label = next((one for one in _SORT if one in found), None)
        if image and label:
            return image, label
    return None


def _filled(hint: str, path: str) -> str:
    """Returns a hint with the names of files; a converted file has another name."""
    stem = PurePath(path).name.split(".")[0]
    stem = f"{stem}_table" if PurePath(path).name in (f"{stem}.csv", f"{stem}.parquet") else stem
    return hint.replace("{file}", path).replace("{stem}", stem)


def _error(problem: str, hint: str | None) -> TfloopError:
    return TfloopError(problem, hint=hint, code=ExitCode.DATA)
