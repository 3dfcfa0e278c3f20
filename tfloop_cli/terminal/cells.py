"""Cells of tables whose texts come from names, configs and other files: no control characters, aligned by width."""

import unicodedata
from collections.abc import Sequence
from typing import Any

from tfloop_cli.config.yaml_scalars import write
from tfloop_cli.terminal.tables import GAP


def columns_text(columns: Sequence[Sequence[str]], left: Sequence[bool]) -> list[str]:
    """Returns the lines of a table.

    Args:
        columns: the cells of each column, from top to bottom.
        left: whether a column is aligned to the left.
    """
    padded = []
    for cells, is_left in zip(columns, left, strict=True):
        widths = [width_of(cell) for cell in cells]
        spaces = [" " * (max(widths) - width) for width in widths]
        padded.append([cell + pad if is_left else pad + cell for cell, pad in zip(cells, spaces, strict=True)])
    return [(" " * GAP).join(row).rstrip() for row in zip(*padded, strict=True)]


def width_of(text: str) -> int:
    """Returns how many columns of a terminal a text needs: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def printable(text: str) -> str:
    """Returns a text in which a control character, which could change the terminal, is escaped."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode() for one in text
    )


def value_text(value: Any) -> str:
    """Returns a value of a config or of a JSON file on one line."""
    return printable(write(value))


def size(number: int) -> str:
    """Returns a number of bytes as KiB, MiB or GiB."""
    for unit, power in (("GiB", 30), ("MiB", 20)):
        if number >= 2**power:
            return f"{number / 2**power:.1f} {unit}"
    return f"{number / 2**10:.1f} KiB"
