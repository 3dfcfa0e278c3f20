"""Everything that is needed to encode other rows of a table as those of the training split. It is data: JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tfloop_cli.engine.data.encoders import Column, EncodersAsJson

MAX_ONE_HOT = 12  # levels of a category; one with more is one column of ids
_WRITTEN = {  # form of numbers, without the mark of a currency or a unit -> what a user should know about it
    "thousands": ", separators of thousands",
    "spaces": ", spaces between thousands",
    "percent": ", percentages",
    "currency": ", amounts of a currency",
    "unit": ", with a unit",
    "before": ", with a unit",
    "limits": ", some are limits",
    "parentheses": ", some in parentheses",
    "time": ", times in seconds",
}
UNKNOWN = 0  # the id of categories that training has not, or only once


@dataclass(frozen=True)
class Scale:
    """How numbers are standardized: see `encoding.standardized`.

    Attributes:
        median: of the training split.
        width: distance of the quartiles of the training split; 0 for a constant column.
    """

    median: float
    width: float


@dataclass(frozen=True)
class ColumnEncoder:
    """How one column of the file is encoded.

    Attributes:
        name: of the column.
        kind: "number", "category", "date", "text" or "ignored".
        note: what was decided for the user, such as why the column is ignored; "" for nothing.
        form: how numbers or dates are written, if they are text; see `notation`.
        missing, distinct: counts in the training split, without what is held out of it.
        indicator: whether missing values have a level (category) or a column of 0 and 1 (others) of their own.
        scales: of a number, or one per part of a date.
        parts: of a date: "days", "year", "month", "day", "weekday", "hour", "sin", "cos".
        edges: of numbers that are codes, boundaries between them in ascending order, standardized; see `codes`.
        levels: categories in order, the values of a number that has few, or the words of a text.
        as_text: whether the column must be read as text, even if all its values look like numbers.
        mean, deviation: of numbers in the training split, for the user; None for other columns.
        has_words: whether the training split has words among these numbers or dates, which count as missing.
    """

    name: str
    kind: str
    note: str = ""
    form: str = ""
    missing: int = 0
    distinct: int = 0
    indicator: bool = False
    scales: tuple[Scale, ...] = ()
    parts: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    as_text: bool = False
    mean: float | None = None
    deviation: float | None = None
    has_words: bool = False

    @property
    def is_constant(self) -> bool:
        """Whether it is ignored since no value differs from another, or none is known."""
        return self.kind == "ignored" and (self.distinct == 1 or (not self.distinct and self.missing > 0))

    @property
    def ids(self) -> int:
        """The number of ids of a wide category; 0 for any other column."""
        levels = len(self.levels) + self.indicator
        return levels + 1 if self.kind == "category" and levels > MAX_ONE_HOT else 0

    @property
    def use(self) -> str:
        """What the column becomes, in words; "" if it is ignored."""
        flags = dict(self.blocks).get("flags", 0)
        missing = ", missing values have their own" if self.indicator else ""
        if self.kind == "ignored":
            return ""
        if self.kind == "category":
            return f"one of {self.ids} ids{missing}" if self.ids else f"one-hot, {flags} columns{missing}"
        filled = ", missing: median and indicator" if self.indicator else ""
        if self.kind == "text":
            return f"{len(self.levels)} words as 0 or 1{', indicator of missing values' if self.indicator else ''}"
        if self.kind == "date":
            return f"{', '.join(self.parts)}{filled}"
        few = f" and one-hot, {len(self.levels)} values" if self.levels else ""
        code = f" and as one of {len(self.edges) + 1} codes" if self.edges else ""
        return f"standardized{few}{code}{_WRITTEN.get(self.form.partition(' ')[0], '')}{filled}"

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """What the column becomes, in order: (kind of `Column`, number of features)."""
        if self.kind == "ignored":
            return ()
        if self.kind == "category":
            return (("id", 1),) if self.ids else (("flags", len(self.levels) + self.indicator),)
        blocks = (("number", len(self.scales)), ("flags", len(self.levels) + self.indicator))
        return tuple(block for block in blocks if block[1])

    @property
    def width(self) -> int:
        """The number of features."""
        return sum(width for _, width in self.blocks)


@dataclass(frozen=True)
class TargetEncoder:
    """How the columns to predict are encoded.

    Attributes:
        names: of the columns.
        class_names: in the order of the labels; empty if the targets are numbers.
        forms: of numbers, per column; see `ColumnEncoder.form`.
        skipped: rows of the training split without a usable target.
        note: what was decided, with the key that changes it; "" for nothing.
    """

    names: tuple[str, ...]
    class_names: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    skipped: int = 0
    note: str = ""

    @property
    def has_named_classes(self) -> bool:
        """Whether classes are words, not numbers; False if there are no classes."""
        return not all(map(str.isdecimal, self.class_names))

    def overview(self) -> list[dict[str, Any]]:
        """Returns what is shown of each column; see `Encoders`."""
        kind = f"{len(self.class_names)} classes" if self.class_names else "number"
        facts = {"type": kind, "missing": self.skipped, "distinct": len(self.class_names) or None, "use": "target"}
        return [{"name": name, **facts} for name in self.names]


@dataclass(frozen=True)
class TableEncoders(EncodersAsJson):
    """The encoders of a table.

    Attributes:
        columns: every column of the training file but the targets, in order.
        target: the columns to predict.
        missing_values: texts that are missing values, in any case.
        exact_categories: whether case and spaces at the ends make different categories.
        dialect: `Dialect.facts` of the training file; None if it is no file of separated values.
        notes: what was decided for the whole table.
    """

    identity = ("table", 1)
    columns: tuple[ColumnEncoder, ...]
    target: TargetEncoder
    missing_values: tuple[str, ...]
    exact_categories: bool
    dialect: Mapping[str, Any] | None
    notes: tuple[str, ...] = field(default=())

    @property
    def used(self) -> list[ColumnEncoder]:
        """The columns that are not ignored."""
        return [column for column in self.columns if column.kind != "ignored"]

    @property
    def width(self) -> int:
        """The number of features of a row."""
        return sum(column.width for column in self.used)

    def spec_columns(self) -> Iterator[Column]:
        """Yields what the features of a row are, in order."""
        start = 0
        for column in self.used:
            for kind, width in column.blocks:
                ids, edges = column.ids if kind == "id" else 0, column.edges if kind == "number" else ()
                yield Column(column.name, kind, start, start + width, ids, edges)
                start += width

    def overview(self) -> list[dict[str, Any]]:
        """Returns what is shown of each column; see `Encoders`."""
        rows = self.target.overview()
        for column in self.columns:
            use = "; ".join(filter(None, (column.use, column.note)))
            is_counted = column.kind != "ignored" or column.missing or column.distinct
            counts = {name: getattr(column, name) if is_counted else None for name in ("missing", "distinct")}
            rows.append({"name": column.name, "type": column.kind, **counts, "use": use})
        return rows

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        columns = []
        for one in values.pop("columns"):
            one["scales"] = tuple(Scale(**scale) for scale in one["scales"])
            one.setdefault("has_words", one["indicator"] and bool(one["form"]))  # earlier versions did not keep it
            columns.append(ColumnEncoder(**one))
        return cls(columns=tuple(columns), target=TargetEncoder(**values.pop("target")), **values)
