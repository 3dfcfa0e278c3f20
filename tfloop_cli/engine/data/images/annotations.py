"""Annotations of object detection and segmentation beside images: what they are, so that they are no classes."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from tfloop_cli.engine.data.problems import refuse

_HEAD = 2000  # bytes of a file that show its format
_TRIED = 5  # files of a kind
_MASKS = re.compile(r"(^|[_ -])(masks?|segmentation(s|class|object)?|trimaps|groundtruth|gt)($|[_ -])", re.I)


def refuse_annotations(root: Path) -> None:
    """Raises TfloopError (exit code 4) if images have boxes or masks, and no classes.

    Args:
        root: the folder of the images.
    """
    names = list(_names(root))
    found = _format_of(root, names)
    if found is None and any(_MASKS.search(part) for name in names for part in PurePosixPath(name).parts[:-1]):
        found = "masks of segmentation"
    if found:
        hint = "images are classified as a whole: sort them into CLASS/, or name a table of their classes (`labels`)"
        refuse(str(root), None, f"the images have {found}, and no classes", hint=hint)


def _names(root: Path) -> Iterator[str]:
    """Yields the names of some files of each kind in each folder, relative to `root`."""
    for folder, folders, files in os.walk(root):
        folders.sort()
        seen = Counter[str]()
        for name in sorted(files):
            suffix = PurePosixPath(name).suffix.lower()
            seen[suffix] += 1
            if seen[suffix] <= _TRIED:
                yield (Path(folder, name)).relative_to(root).as_posix()


def _format_of(root: Path, names: Sequence[str]) -> str | None:
    for suffix, pattern, what in (
        (
            ".json",
            rb'"(annotations|bbox|segmentation|shapes)"\s*:',
            "boxes or masks of object detection (COCO)",
        ),
        (".xml", rb"<annotation\b", "boxes of object detection (Pascal VOC)"),
        (".txt", rb"\s*\d+( +-?[\d.]+){4,}\s*(\n|$)", "boxes of object detection (YOLO)"),
    ):
        files = [name for name in names if name.lower().endswith(suffix)]
        if any(_matches(root / name, pattern, suffix) for name in files[:_TRIED]):
            return what
        if suffix == ".json" and any("coco" in name.lower() or "instances_" in name for name in files):
            return what
    return None


def _matches(path: Path, pattern: bytes, suffix: str) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return (re.match if suffix == ".txt" else re.search)(pattern, head) is not None
