"""The names and the order of classes, the same for every dataset."""

import unicodedata
from collections.abc import Iterable


def composed(label: str) -> str:
    """Returns a class as it is compared: Unicode NFC, since macOS writes names of folders in another form."""
    return label if label.isascii() else unicodedata.normalize("NFC", label)


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Returns the distinct labels in order: by value if all are whole numbers, else alphabetically."""
    different = set(labels)
    try:
        return tuple(sorted(different, key=lambda label: (int(label), label)))
    except ValueError:
        return tuple(sorted(different))
