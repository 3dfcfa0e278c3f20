"""Classes in the names of images, such as cat.12.jpg."""

import re
from collections import Counter
from collections.abc import Collection, Sequence

_LETTERS = r"[^\W\d_]+(?:[ _-][^\W\d_]+)*"
PATTERNS = (  # of the names of files: cat.0.jpg, great_dane_12.png; 12-cat.png
    rf"(?P<label>{_LETTERS})[ ._-]*\(?[0-9]+\)?\.[A-Za-z]+$",
    rf"(?:^|/)[0-9]+[ ._-]+(?P<label>{_LETTERS})\.[A-Za-z]+$",
)
_NO_CLASSES = (  # begin names of files that are only counted
    "img", "image", "images", "dsc", "dscn", "dscf", "pic", "picture", "photo", "frame", "scan", "screenshot", "sample",
    "file", "page", "p", "mvimg", "pxl", "wa", "whatsapp image", "untitled", "train", "test", "val",
)  # fmt: skip
_MIN_EACH = 2  # images of a class, and half of them on average


def pattern_of(names: Sequence[str], known: Collection[str] = ()) -> str | None:
    """Returns the one of `PATTERNS` that finds several classes in the names of all files; None if there is none.

    One that finds only classes that are `known`, since the run has them, needs no several ones.
    """
    for pattern in PATTERNS:
        found = [match["label"] for name in names if (match := re.search(pattern, name))]
        counts = Counter(found)
        if len(found) == len(names) and known and counts.keys() <= set(known):
            return pattern
        if len(found) < len(names) or len(counts) < 2 or min(counts.values()) < _MIN_EACH:
            continue
        if not any(label.lower() in _NO_CLASSES for label in counts):
            return pattern
    return None
