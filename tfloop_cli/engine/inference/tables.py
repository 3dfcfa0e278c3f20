"""Rows of tables as inputs."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.encoders import TableEncoders
from tfloop_cli.engine.data.tables.encoding import (
    USUAL_FORMS,
    Settings,
    encode_rows,
    prepare,
    wrong_value,
    wrong_values,
)
from tfloop_cli.engine.data.tables.files import TableFile
from tfloop_cli.engine.inference.inputs import Inputs, chunk_rows
from tfloop_cli.engine.inference.rechunk import rechunk, row_names
from tfloop_cli.engine.inference.rows import ReadRows, RowReader, rows_of

SHOWN = 20  # names of columns in a message


@dataclass
class TableInputs:
    """Reads and encodes rows as those of the training file.

    Args:
        encoders: of the run.
        options: what the user has set about the training file.
        missing: what the run does about missing values; see the dataset `table`.
        keep: columns to copy.

    Attributes:
        unknown: name of a category -> how many of its values training does not have.
        unmarked: name of a column without missing values in training -> how many there are here.
    """

    encoders: TableEncoders
    options: DialectOptions
    missing: str = "impute"
    keep: Sequence[str] = ()
    unknown: Counter[str] = field(default_factory=Counter)
    unmarked: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        used = tuple(replace(one, form=one.form or USUAL_FORMS.get(one.kind, "")) for one in self.encoders.used)
        # In words of a number's or a date's column, the form of this chunk must not depend on the chunk.
        self._strict = replace(self.encoders, columns=used)
        texts = [one.name for one in self.encoders.used if one.kind in ("category", "text") or one.form]
        # What is kept is read as text: it stays as it is written.
        plain = [one.name for one in self.encoders.used if one.kind == "number" and not one.form]
        numbers = [name for name in plain if name not in self.keep]
        self.rows = RowReader(
            self.options, self.encoders.dialect, self.encoders.target.names,
            [one.name for one in self.encoders.columns],
            [*texts, *self.keep], numbers,
            [*(one.name for one in used), *self.keep], self.encoders.missing_values,
        )  # fmt: skip

    @property
    def columns(self) -> str:
        """The columns that the model needs, in words."""
        names = [f"`{one.name}`" for one in self.encoders.used]
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        return f"the column(s) {', '.join(names[:SHOWN])}{more}"

    @property
    def notes(self) -> list[str]:
        """What was found in the rows that were read so far."""
        notes = [
            f"{count:,} value(s) of `{name}` do not occur in training, or only once, and share one level"
            for name, count in self.unknown.items()
        ]
        return notes + [
            f"{count:,} value(s) of `{name}` are missing, and none is in training: no column marks them"
            for name, count in self.unmarked.items()
        ]

    def read(self, files: Sequence[TableFile], batch_size: int, several: bool = False) -> Iterator[Inputs]:
        """Yields the rows of files in chunks of whole batches; see `Inputs` and `RowReader`."""
        for file in files:
            first = 1
            for rows in rechunk(self.rows.read(file), chunk_rows(batch_size)):
                yield self._encoded(rows, row_names(first, rows.table.num_rows, file.name if several else ""))
                first += rows.table.num_rows

    def records(self, records: Sequence[Mapping[str, Any] | str], names: np.ndarray) -> Inputs:
        """Returns rows as inputs.

        Args:
            records: name of a column -> its value. A text is the error of a row.
            names: see `Inputs`.
        """
        needed, found = self.rows.wanted, []
        for record in records:
            lacking = [] if isinstance(record, str) else [name for name in needed if not _has(record, name)]
            found.append(f"there is no {', '.join(f'`{name}`' for name in lacking)}" if lacking else record)
        rows = rows_of(found, needed)
        present, table = set(rows.table.column_names), rows.table
        for name in dict.fromkeys(needed):
            table = table if name in present else table.append_column(name, pa.nulls(table.num_rows))
        return self._encoded(replace(rows, table=table), names)

    def _encoded(self, rows: ReadRows, names: np.ndarray) -> Inputs:
        encoders = self._strict
        settings = Settings(encoders.missing_values, encoders.exact_categories, rows.decimal)
        errors, values, missing = dict(rows.errors), {}, {}
        for encoder in encoders.used:
            column = _without_nested(rows.table.column(encoder.name), encoder.name, errors)
            values[encoder.name] = found = prepare(column, encoder, settings)
            missing[encoder.name] = found.missing
            for number, text in wrong_values(column, encoder, found, settings).items():
                errors.setdefault(number, wrong_value(encoder, text))
        self._note_missing(missing, errors)
        usable = np.ones(rows.table.num_rows, bool)
        usable[list(errors)] = False
        inputs, unknown = encode_rows(values, encoders, usable)
        self.unknown.update(unknown)
        if errors:
            inputs = inputs[usable]
        return Inputs(names, inputs, errors, rows.table.select(list(self.keep)) if self.keep else None)

    def _note_missing(self, missing: Mapping[str, np.ndarray], errors: dict[int, str]) -> None:
        """Counts missing values that no column marks, or adds their rows to the errors if the run has none of them."""
        readable = np.ones(len(next(iter(missing.values()))), bool)
        readable[list(errors)] = False
        for encoder in self.encoders.used:
            numbers = np.flatnonzero(missing[encoder.name] & readable)
            if self.missing != "impute":
                for number in numbers.tolist():
                    errors.setdefault(number, f"column `{encoder.name}`: the value is missing")
            elif len(numbers) and not encoder.indicator:
                self.unmarked[encoder.name] += len(numbers)


def _has(record: Mapping[str, Any], name: str) -> bool:
    """Whether an object has a key, or `b` in an object `a` for `a.b`, or two values in a list `v` for `v.1`."""
    if name in record:
        return True
    outer, _, inner = name.partition(".")
    value = record.get(outer)
    if isinstance(value, list) and inner.isdecimal():
        return int(inner) < len(value)
    return bool(inner) and isinstance(value, Mapping) and _has(value, inner)


def _without_nested(column: pa.ChunkedArray, name: str, errors: dict[int, str]) -> pa.ChunkedArray:
    """Returns a column; one of lists or bytes is null, and its rows are errors."""
    if not (pa.types.is_nested(column.type) or pa.types.is_binary(column.type)):
        return column
    for number in np.flatnonzero(column.is_valid().to_numpy()):
        errors.setdefault(int(number), f"column `{name}` has a value of type {column.type}")
    return pa.chunked_array([pa.nulls(len(column), pa.string())])
