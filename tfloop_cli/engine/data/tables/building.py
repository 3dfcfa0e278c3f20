"""Builds the splits of a table: reads files, fits the encoders to the training split, encodes all splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.choosing import Candidates, SplitRules, training_rows
from tfloop_cli.engine.data.tables.codes import with_edges
from tfloop_cli.engine.data.tables.column_types import fit_column, last_resort
from tfloop_cli.engine.data.tables.csv_reading import CsvReader, null_texts
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.encoders import ColumnEncoder, TableEncoders, TargetEncoder
from tfloop_cli.engine.data.tables.encoding import (
    Settings,
    encode_rows,
    prepare,
    prepare_rows,
)
from tfloop_cli.engine.data.tables.files import csv_memory
from tfloop_cli.engine.data.tables.per_column import in_threads
from tfloop_cli.engine.data.tables.reading import Rows, listing
from tfloop_cli.engine.data.tables.splits_of_files import Kept, each_split, kept_columns, unknown_notes
from tfloop_cli.engine.data.tables.targets import Classes, encode_target, fit_target
from tfloop_cli.engine.data.tables.trained_rows import read_split
from tfloop_cli.engine.data.tables.valid_rows import (
    complete_rows,
    require_lengths,
    with_known_class,
    with_target,
    wrong_notes,
)
from tfloop_cli.engine.data.tables.values import MISSING_VALUES, Values, Words

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
    files: Mapping[str, str | Sequence[str]],
    options: TableOptions,
    encoders: TableEncoders | None = None,
    rules: SplitRules = SplitRules(),
) -> tuple[TableEncoders, dict[str, Arrays], dict[str, Kept]]:
    """Reads and encodes all splits.

    Args:
        files: name of a split -> its files; "train" is the first unless there are encoders.
        options: what the user has set.
        encoders: of an earlier run; None to fit them to the rows of the training split that are not held out.
        rules: decide what is held out, and which columns are kept for that.

    Returns:
        The encoders, whose notes include what was found in the other splits; the arrays of each split, and the columns
        that the rules name.

    Raises:
        TfloopError: a file cannot be read, a column does not exist, or the first invalid row if such rows are not
            skipped (exit code 4).
    """
    everything = list(files)
    return each_split(
        files,
        encoders,
        lambda names: _fit(names, options, rules, everything),
        lambda split, names, encoders: _encode(split, names, options, encoders, rules, everything),
    )


def _fit(
    names: str | Sequence[str], options: TableOptions, rules: SplitRules, splits: Sequence[str]
) -> tuple[TableEncoders, Arrays, Kept]:
    """Reads the training split, fits the encoders to what is not held out of it, and encodes it."""
    as_text = [name for name, kind in options.columns.items() if kind not in ("number", "ignore")]
    as_text += options.targets if options.classes is not False else ()
    nulls, are_classes = null_texts(options.missing_values), options.classes is not False
    reader = CsvReader("train", options.dialect, options.targets, as_text, nulls, names_classes=are_classes)
    rows = read_split(names, reader)
    _check_columns(rows, options)
    settings = _settings(rows, options)
    total = rows.table.num_rows
    rows, target, targets = _fit_target(rows, options, settings)
    skipped = total - len(targets)
    fitter = _ColumnFitter(options, settings, rules, splits)
    columns, values, fitted = fitter.columns_of(rows, target, targets)
    complete = complete_rows(rows, columns, values, options.missing)
    if not complete.all():
        rows, target, targets = _fit_target(rows.subset(complete), options, settings)
        columns, values, fitted = fitter.columns_of(rows, target, targets)
    if not values:
        why = "; ".join(f"`{column.name}` is {column.note}" for column in columns) or "there is no other column"
        rows.refuse(f"there is no column to predict {listing(options.targets)} from: {why}")
    dialect = rows.parts[0].dialect
    encoders = TableEncoders(
        tuple(columns), replace(target, skipped=skipped), options.missing_values, options.exact_categories,
        dialect.facts if dialect else None, (*([target.note] if target.note else []), *rows.notes),
    )  # fmt: skip
    kept, rows = kept_columns(rows, rules), rows.without_table()  # before the inputs are allocated
    for pool in (pa.default_memory_pool(), csv_memory()):
        pool.release_unused()
    inputs, unknown = encode_rows(values, encoders, ~fitted)
    build_context().files.check(rows.split, len(inputs), [(inputs, None), (targets, None)], rows.place)
    notes = unknown_notes("train", unknown)
    return replace(encoders, notes=(*encoders.notes, *notes)), (inputs, _targets(targets)), kept


def _encode(
    split: str,
    names: str | Sequence[str],
    options: TableOptions,
    encoders: TableEncoders,
    rules: SplitRules,
    splits: Sequence[str],
) -> tuple[Arrays, Kept, list[str]]:
    """Reads a split and encodes it as the training split; also returns notes about it."""
    rows, targets, settings = usable_rows(split, names, options, encoders)
    values = prepare_rows(rows.table, encoders, settings)
    wrong = wrong_notes(rows, encoders, values, settings) if split != "train" else []
    complete = complete_rows(rows, encoders.columns, values, options.missing)
    if not complete.all():
        rows, targets = rows.subset(complete), targets[complete]
        values = prepare_rows(rows.table, encoders, settings)
    notes = [
        f"{split}: {count:,} value(s) of `{column.name}` are missing, and none is in training: no column marks them"
        for column in encoders.used
        if not column.indicator and (count := int(values[column.name].missing.sum()))
    ]
    is_fitted = np.zeros(len(targets), bool)
    if split == "train":
        is_fitted = _fitted_rows(rows, encoders.target, targets, rules, splits)
    inputs, unknown = encode_rows(values, encoders, ~is_fitted)
    build_context().files.check(rows.split, len(inputs), [(inputs, None), (targets, None)], rows.place)
    return (inputs, _targets(targets)), kept_columns(rows, rules), [*wrong, *notes, *unknown_notes(split, unknown)]


def usable_rows(
    split: str, names: str | Sequence[str], options: TableOptions, encoders: TableEncoders
) -> tuple[Rows, np.ndarray, Settings]:
    """Reads a split: its rows with a usable target of a known class, their targets, and how values are written."""
    target = encoders.target
    as_text = [column.name for column in encoders.used if column.as_text or column.form]
    others = (name for name, form in zip(target.names, target.forms, strict=False) if form != "plain")
    as_text += target.names if target.class_names else others
    nulls = null_texts(encoders.missing_values)
    how = (encoders.dialect, target.has_named_classes)
    rows = read_split(names, CsvReader(split, options.dialect, target.names, as_text, nulls, *how))
    rows.require([column.name for column in encoders.used])
    rows.require(
        target.names, hint=f"rows without it can be predicted: `tfloop predict last {rows.parts[0].file.name}`"
    )
    require_lengths(rows, {column.name for column in encoders.columns})
    settings = _settings(rows, options, encoders)
    targets, usable = encode_target([rows.table.column(name) for name in target.names], target, settings)
    rows, targets = with_target(rows, targets, usable, target.names)
    rows, targets = with_known_class(rows, targets, target.names[0], target.class_names)
    return rows, targets, settings


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


@dataclass(frozen=True)
class _ColumnFitter:
    """Fits the encoders of columns to the rows that are not held out.

    Args:
        options: what the user has set.
        settings: of the training file.
        rules: decide what is held out.
        splits: names of the splits that have files.
    """

    options: TableOptions
    settings: Settings
    rules: SplitRules
    splits: Sequence[str]

    def columns_of(
        self, rows: Rows, target: TargetEncoder, targets: np.ndarray
    ) -> tuple[list[ColumnEncoder], dict[str, Values], np.ndarray]:
        """Returns the encoder of each column but the targets, and the values of those that are used, of all rows.

        The third is to which rows the encoders are fitted: bool [rows].
        """
        fitted = _fitted_rows(rows, target, targets, self.rules, self.splits)
        positions, all_fitted = rows.positions[fitted], bool(fitted.all())

        def fit(name: str) -> tuple[ColumnEncoder, Values | None]:
            column = rows.table.column(name)
            chosen = column if all_fitted else column.filter(pa.array(fitted))
            encoder, found = self._fit_column(name, chosen, positions)
            encoder = with_edges(encoder, found, targets[fitted], len(target.class_names))
            return encoder, found if found is None or all_fitted else prepare(column, encoder, self.settings)

        names = [name for name in rows.table.column_names if name not in self.options.targets]
        found = in_threads(fit, names)
        encoders = [encoder for encoder, _ in found]
        values = {encoder.name: one for encoder, one in found if one is not None}
        if not values:
            encoders, values = self._with_last_resorts(rows, encoders, fitted)
        return encoders, values, fitted

    def _with_last_resorts(
        self, rows: Rows, encoders: Sequence[ColumnEncoder], fitted: np.ndarray
    ) -> tuple[list[ColumnEncoder], dict[str, Values]]:
        """Returns encoders that use free texts, else ids, else numbers of rows; and these columns' values."""
        found, values = list(encoders), dict[str, Values]()
        for kind in ("text", "category", "number"):
            for number, encoder in enumerate(encoders):
                if last_resort(encoder) == kind and (used := self._used(rows, encoder, fitted)):
                    found[number], values[encoder.name] = used
            if values:
                break
        return found, values

    def _used(self, rows: Rows, encoder: ColumnEncoder, fitted: np.ndarray) -> tuple[ColumnEncoder, Values] | None:
        """Returns the encoder of a column that is used after all, and its values; None if there is nothing to use."""
        column, positions = rows.table.column(encoder.name), rows.positions[fitted]
        chosen, kind = column.filter(pa.array(fitted)), last_resort(encoder)
        encoder, values = fit_column(encoder.name, chosen, kind, self.settings, positions)
        if values is None:
            return None
        if kind == "category" and isinstance(values, Words) and values.counts().max() < 2:  # nothing to learn from
            return None
        encoder = replace(encoder, note="used, since there is no other column")
        return encoder, prepare(column, encoder, self.settings)

    def _fit_column(
        self, name: str, column: pa.ChunkedArray, positions: np.ndarray
    ) -> tuple[ColumnEncoder, Values | None]:
        declared, listed = self.options.columns.get(name), name in self.options.only
        if name in self.options.ignore or (self.options.only and not listed):
            declared = "ignore"
        if name in self.rules.columns and declared is None and not listed:
            note = f"ignored: `{self.rules.columns[name]}` names it; `columns` or `only` use it as an input too"
            return ColumnEncoder(name, "ignored", note), None
        return fit_column(name, column, declared, self.settings, positions)


def _fitted_rows(
    rows: Rows, target: TargetEncoder, targets: np.ndarray, rules: SplitRules, splits: Sequence[str]
) -> np.ndarray:
    """Returns which rows of the training file are not held out: bool [rows]."""
    labels = targets if target.class_names else None
    candidates = Candidates(len(targets), splits, labels, kept_columns(rows, rules), rows.table.column_names)
    return training_rows(candidates, rules)


def _targets(targets: np.ndarray) -> np.ndarray:
    return targets if targets.dtype == np.int32 else targets.astype(np.float32)


def _check_columns(rows: Rows, options: TableOptions) -> None:
    """Every name in the config must be a column of the training file."""
    used = {"": options.targets, "columns": options.columns, "only": options.only}
    for key, names in {**used, "ignore": options.ignore, "decimal": options.dialect.decimals}.items():
        rows.require(names, key and f"`{key}`: ")
        if key in ("columns", "only") and (wrong := [name for name in names if name in options.targets]):
            rows.refuse(f"`{key}`: `{wrong[0]}` is the target")
