"""Builds the splits of a table: reads files, fits the encoders to the training split, encodes all splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from tfloop_cli.engine.data.invalid_examples import count_skipped, skips_invalid_examples
from tfloop_cli.engine.data.problems import invalid_row
from tfloop_cli.engine.data.tables.column_types import fit_column
from tfloop_cli.engine.data.tables.csv_reading import CsvReader, null_texts
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.encoders import ColumnEncoder, TableEncoders, TargetEncoder
from tfloop_cli.engine.data.tables.encoding import Settings, encode, prepare
from tfloop_cli.engine.data.tables.reading import Rows, listing, read_rows
from tfloop_cli.engine.data.tables.targets import (
    Classes,
    encode_target,
    fit_target,
    with_known_class,
    with_target,
)
from tfloop_cli.engine.data.tables.values import MISSING_VALUES, Values

Arrays = tuple[np.ndarray, np.ndarray]  # inputs float32 [rows, features]; targets int32 or float32 [rows, ...]


@dataclass(frozen=True)
class TableOptions:
    """What a user may set; see the dataset `table`."""

    targets: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    missing: str = "impute"
    missing_values: tuple[str, ...] = MISSING_VALUES
    exact_categories: bool = False
    classes: Classes = "auto"
    dialect: DialectOptions = field(default_factory=DialectOptions)


def build_splits(
    files: Mapping[str, str | Sequence[str]], options: TableOptions, encoders: TableEncoders | None = None
) -> tuple[TableEncoders, dict[str, Arrays]]:
    """Reads and encodes all splits.

    Args:
        files: name of a split -> its files; "train" is the first unless there are encoders.
        options: what the user has set.
        encoders: of an earlier run; None to fit them to the training split.

    Returns:
        The encoders, whose notes include what was found in the other splits, and the arrays of each split.

    Raises:
        TfloopError: a file cannot be read, a column does not exist, or the first invalid row if such rows are not
            skipped (exit code 4).
    """
    skips_invalid_examples()  # declares that skipping is supported
    splits: dict[str, Arrays] = {}
    for split, names in files.items():
        if encoders is None:
            encoders, splits[split] = _fit(names, options)
        else:
            splits[split], notes = _encode(split, names, options, encoders)
            encoders = replace(encoders, notes=tuple(dict.fromkeys([*encoders.notes, *notes])))
    assert encoders is not None
    return encoders, splits


def _fit(names: str | Sequence[str], options: TableOptions) -> tuple[TableEncoders, Arrays]:
    """Reads the training split, fits the encoders to it, and encodes it."""
    as_text = [name for name, kind in options.columns.items() if kind in ("category", "text", "date")]
    as_text += options.targets if options.classes is not False else ()
    reader = CsvReader("train", options.dialect, options.targets, as_text, null_texts(options.missing_values))
    rows = read_rows(names, reader)
    _check_columns(rows, options)
    settings = _settings(rows, options)
    total = rows.table.num_rows
    rows, target, targets = _fit_target(rows, options, settings)
    skipped = total - len(targets)
    columns, values = _fit_columns(rows, options, settings)
    complete = _complete(rows, columns, values, options)
    if not complete.all():
        rows, target, targets = _fit_target(rows.subset(complete), options, settings)
        columns, values = _fit_columns(rows, options, settings)
    if not values:
        why = "; ".join(f"`{column.name}` is {column.note}" for column in columns) or "there is no other column"
        rows.refuse(f"there is no column to predict {listing(options.targets)} from: {why}")
    if not target.class_names:
        flat = targets.reshape(len(targets), -1)
        target = replace(target, means=tuple(flat.mean(axis=0).tolist()), deviations=tuple(flat.std(axis=0).tolist()))
    dialect = rows.parts[0].dialect
    encoders = TableEncoders(
        tuple(columns), replace(target, skipped=skipped), options.missing, options.missing_values,
        options.exact_categories, dialect.facts if dialect else None,
        (*([target.note] if target.note else []), *rows.notes),
    )  # fmt: skip
    del rows  # before the inputs are allocated
    pa.default_memory_pool().release_unused()
    return encoders, (_inputs(values, encoders, len(targets))[0], _targets(targets))


def _encode(
    split: str, names: str | Sequence[str], options: TableOptions, encoders: TableEncoders
) -> tuple[Arrays, list[str]]:
    """Reads a split and encodes it as the training split; also returns notes about it."""
    target = encoders.target
    as_text = [column.name for column in encoders.used if column.as_text]
    as_text += target.names if target.class_names else ()
    nulls = null_texts(encoders.missing_values)
    rows = read_rows(names, CsvReader(split, options.dialect, target.names, as_text, nulls, encoders.dialect))
    rows.require([*target.names, *(column.name for column in encoders.used)])
    settings = _settings(rows, options, encoders)
    targets, usable = encode_target([rows.table.column(name) for name in target.names], target, settings)
    rows, targets = with_target(rows, targets, usable, target.names)
    rows, targets = with_known_class(rows, targets, target.names[0])
    values = _prepared(rows, encoders, settings)
    complete = _complete(rows, encoders.columns, values, options)
    if not complete.all():
        rows, targets = rows.subset(complete), targets[complete]
        values = _prepared(rows, encoders, settings)
    notes = [
        f"{split}: {count:,} value(s) of `{column.name}` are missing, and none is in training: no column marks them"
        for column in encoders.used
        if not column.indicator and (count := int(values[column.name].missing.sum()))
    ]
    inputs, unknown = _inputs(values, encoders, len(targets))
    notes += [
        f"{split}: {count:,} value(s) of `{name}` do not occur in training, or only once, and share one level"
        for name, count in unknown.items()
    ]
    return (inputs, _targets(targets)), notes


def _fit_target(rows: Rows, options: TableOptions, settings: Settings) -> tuple[Rows, TargetEncoder, np.ndarray]:
    """Returns the rows with a usable target, the encoder of the targets, and the targets."""
    columns = [rows.table.column(name) for name in options.targets]
    target = fit_target(columns, options.targets, options.classes, settings)
    targets, usable = encode_target(columns, target, settings)
    rows, targets = with_target(rows, targets, usable, options.targets)
    return rows, target, targets


def _settings(rows: Rows, options: TableOptions, encoders: TableEncoders | None = None) -> Settings:
    known = encoders or options
    dialect = rows.parts[0].dialect
    return Settings(known.missing_values, known.exact_categories, dialect.decimal if dialect else ".")


def _fit_columns(
    rows: Rows, options: TableOptions, settings: Settings
) -> tuple[list[ColumnEncoder], dict[str, Values]]:
    """Returns the encoder of each column but the targets, and the values of those that are used."""
    encoders, values, positions = [], {}, rows.positions
    for name in rows.table.column_names:
        if name in options.targets:
            continue
        declared = options.columns.get(name)
        if name in options.ignore or (options.only and name not in options.only):
            declared = "ignore"
        encoder, found = fit_column(name, rows.table.column(name), declared, settings, positions)
        encoders.append(encoder)
        if found is not None:
            values[name] = found
    return encoders, values


def _prepared(rows: Rows, encoders: TableEncoders, settings: Settings) -> dict[str, Values]:
    return {column.name: prepare(rows.table.column(column.name), column, settings) for column in encoders.used}


def _inputs(values: dict[str, Values], encoders: TableEncoders, rows: int) -> tuple[np.ndarray, dict[str, int]]:
    """Returns the inputs, float32 [rows, features], and how many values of each category are unknown.

    `values` is emptied, so that each column is freed when it is encoded.
    """
    inputs = np.empty((rows, encoders.width), np.float32)
    unknown, start = {}, 0
    for encoder in encoders.used:
        block = inputs[:, start : start + encoder.width]
        if count := encode(values.pop(encoder.name), encoder, block):
            unknown[encoder.name] = count
        start += encoder.width
    return inputs, unknown


def _targets(targets: np.ndarray) -> np.ndarray:
    return targets if targets.dtype == np.int32 else targets.astype(np.float32)


def _complete(
    rows: Rows, columns: Sequence[ColumnEncoder], values: Mapping[str, Values], options: TableOptions
) -> np.ndarray:
    """Returns which rows are used, bool [rows]: with `missing: skip` and `error`, those without a missing value.

    Raises:
        TfloopError: with `missing: error`, the first missing value (exit code 4).
    """
    complete = np.ones(rows.table.num_rows, bool)
    if options.missing == "impute":
        return complete
    for column in columns:
        if column.name in values:
            complete &= ~values[column.name].missing
    if complete.all():
        return complete
    first = int(np.flatnonzero(~complete)[0])
    name = next(column.name for column in columns if column.name in values and values[column.name].missing[first])
    hint = "add the value, or set `missing: impute` or `missing: skip`"
    error = invalid_row(rows.split, *rows.place(first), f"column `{name}`: the value is missing", hint)
    if options.missing == "error":
        raise error
    count_skipped(rows.split, error, int((~complete).sum()))
    if not complete.any():
        raise error
    return complete


def _check_columns(rows: Rows, options: TableOptions) -> None:
    """Every name in the config must be a column of the training file."""
    rows.require(options.targets)
    for key, names in (("columns", options.columns), ("ignore", options.ignore), ("only", options.only)):
        rows.require(names, f"`{key}`: ")
        if key != "ignore" and (wrong := [name for name in names if name in options.targets]):
            rows.refuse(f"`{key}`: `{wrong[0]}` is the target")
