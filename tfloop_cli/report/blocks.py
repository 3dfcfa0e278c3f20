"""What a page is made of: sections of blocks. The template has one macro per kind of block."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from tfloop_cli.terminal import tables

NONE = "-"  # a cell without a value


@dataclass(frozen=True)
class Text:
    """A paragraph; `style` is "note", "warning" or ""."""

    text: str
    style: str = ""
    kind: str = field(default="text", init=False)


@dataclass(frozen=True)
class Code:
    """Lines to copy."""

    text: str
    kind: str = field(default="code", init=False)


@dataclass(frozen=True)
class Card:
    """One number: its name, its value, and what is known of it."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Cards:
    """Numbers at a glance."""

    cards: Sequence[Card]
    kind: str = field(default="cards", init=False)


@dataclass(frozen=True)
class Table:
    """A table that scrolls where it is too wide or too long.

    Attributes:
        header: one text per column.
        rows: cells.
        name: what it shows, for those who do not see it.
        left: number of first columns that are text; the others are numbers.
        text_last: whether the last column is text, too.
        marked: (row, column) of cells that stand out.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    name: str
    left: int = 1
    text_last: bool = False
    marked: frozenset[tuple[int, int]] = frozenset()
    kind: str = field(default="table", init=False)


@dataclass(frozen=True)
class Figure:
    """A chart.

    Attributes:
        title: above it.
        svg: the chart.
        legend: (style, name) of each line; empty for one.
        note: below it.
    """

    title: str
    svg: Markup
    legend: Sequence[tuple[str, str]] = ()
    note: str = ""


@dataclass(frozen=True)
class Figures:
    """Charts beside each other; `wide` ones below each other."""

    figures: Sequence[Figure]
    wide: bool = False
    kind: str = field(default="figures", init=False)


@dataclass(frozen=True)
class Image:
    """One image as a `data:` URI."""

    uri: str
    name: str
    kind: str = field(default="image", init=False)


@dataclass(frozen=True)
class Example:
    """One example: its image as a `data:` URI or "", and lines below it."""

    image: str
    lines: Sequence[str]
    wrong: bool
    text: str = ""


@dataclass(frozen=True)
class Gallery:
    """Examples beside each other."""

    examples: Sequence[Example]
    kind: str = field(default="gallery", init=False)


@dataclass(frozen=True)
class Section:
    """A part of the page; `anchor` is its id."""

    anchor: str
    title: str
    blocks: Sequence[Any]


@dataclass(frozen=True)
class Omitted:
    """A part that the page does not have, and why."""

    part: str
    why: str


def number(value: Any) -> str:
    """Returns a number as a text; a dash for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == float("inf"):
        return NONE
    return f"{value:,}" if isinstance(value, int) else tables.number(value + 0.0)  # no -0
