"""The splits of tables and texts: encoders are fitted to the first one, and encode the others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from tfloop_cli.engine.data.choosing import SplitRules
from tfloop_cli.engine.data.invalid_examples import skips_invalid_examples
from tfloop_cli.engine.data.tables.encoders import TableEncoders
from tfloop_cli.engine.data.tables.reading import Rows
from tfloop_cli.engine.data.tables.values import raw_values
from tfloop_cli.engine.data.texts.encoders import TextEncoders

Fitted = TypeVar("Fitted", TableEncoders, TextEncoders)
Files, Made = TypeVar("Files"), TypeVar("Made")
Kept = dict[str, np.ndarray]  # columns that examples are held out by: name -> values [rows], see `raw_values`


def each_split(
    files: Mapping[str, Files],
    encoders: Fitted | None,
    fit: Callable[[Files], tuple[Fitted, Made, Kept]],
    encode: Callable[[str, Files, Fitted], tuple[Made, Kept, Sequence[str]]],
) -> tuple[Fitted, dict[str, Made], dict[str, Kept]]:
    """Fits encoders to the first split, unless there are some, and encodes the others; see `build_splits`.

    Args:
        files: name of a split -> its files.
        encoders: of an earlier run, or None.
        fit: returns the encoders, the arrays and the columns of the first split.
        encode: returns the arrays and the columns of another split, and notes for the encoders.
    """
    skips_invalid_examples()  # declares that skipping is supported
    splits: dict[str, Made] = {}
    columns: dict[str, Kept] = {}
    for split, names in files.items():
        if encoders is None:
            encoders, splits[split], columns[split] = fit(names)
        else:
            splits[split], columns[split], notes = encode(split, names, encoders)
            encoders = replace(encoders, notes=tuple(dict.fromkeys([*encoders.notes, *notes])))
    assert encoders is not None
    return encoders, splits, columns


def kept_columns(rows: Rows, rules: SplitRules) -> Kept:
    """Returns the columns that the rules name, as far as there are such columns."""
    return {name: raw_values(rows.table.column(name)) for name in rules.columns if name in rows.table.column_names}


def unknown_notes(split: str, unknown: Mapping[str, int]) -> list[str]:
    """Returns notes about the values of categories that are not in training: name of a column -> their number."""
    where = "held-out rows" if split == "train" else split
    return [
        f"{where}: {count:,} value(s) of `{name}` do not occur in training, or only once, and share one level"
        for name, count in unknown.items()
    ]
