"""Builds the splits of texts: reads files, fits the encoders to the training split, encodes all splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.choosing import Candidates, SplitRules, training_rows
from tfloop_cli.engine.data.tables.csv_reading import CsvReader, null_texts
from tfloop_cli.engine.data.tables.describing import is_cheap
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.encoders import TargetEncoder
from tfloop_cli.engine.data.tables.encoding import Settings
from tfloop_cli.engine.data.tables.reading import Rows
from tfloop_cli.engine.data.tables.splits_of_files import Kept, each_split, kept_columns
from tfloop_cli.engine.data.tables.targets import Classes, encode_target, fit_target
from tfloop_cli.engine.data.tables.valid_rows import with_known_class, with_target
from tfloop_cli.engine.data.tables.values import MISSING_VALUES
from tfloop_cli.engine.data.text_source import Arrays
from tfloop_cli.engine.data.texts.encoders import Features, TextEncoders
from tfloop_cli.engine.data.texts.reading import TARGETS, Columns, read_texts, texts_of
from tfloop_cli.errors import TfloopError


@dataclass(frozen=True)
class TextOptions:
    """What a user may set; see the dataset `text`."""

    columns: Columns = field(default_factory=Columns)
    classes: Classes = "auto"
    features: Features = "ngrams"
    vocabulary: int = 20_000
    max_tokens: int = 400
    dialect: DialectOptions = field(default_factory=lambda: DialectOptions(free_text=True))


def build_texts(
    files: Mapping[str, Sequence[str]],
    options: TextOptions,
    encoders: TextEncoders | None = None,
    rules: SplitRules = SplitRules(),
) -> tuple[TextEncoders, dict[str, Arrays], dict[str, Kept]]:
    """Reads and encodes all splits.

    Args:
        files: name of a split -> its files, or one folder; "train" is the first unless there are encoders.
        options: what the user has set.
        encoders: of an earlier run; None to fit them to the texts of the training split that are not held out.
        rules: decide what is held out, and which columns are kept for that.

    Returns:
        The encoders, the arrays of each split, and the columns that the rules name.

    Raises:
        TfloopError: a file cannot be read, a column does not exist, or the first invalid example if such examples are
            not skipped (exit code 4).
    """
    return each_split(
        files,
        encoders,
        lambda names: _fit(names, options, rules, list(files)),
        lambda split, names, encoders: _encode(split, names, options, encoders, rules),
    )


def _fit(
    names: Sequence[str], options: TextOptions, rules: SplitRules, splits: Sequence[str]
) -> tuple[TextEncoders, Arrays, Kept]:
    """Reads the training split, fits the encoders to what is not held out of it, and encodes it."""
    likely = (*(options.columns.targets or TARGETS), options.columns.text or "text")  # names in a header
    rows = read_texts(names, _reader("train", options, likely, None))
    columns = options.columns.of(rows)
    total = rows.table.num_rows
    found = [rows.table.column(name) for name in columns.targets]
    target = fit_target(found, columns.targets, options.classes, _settings(rows))
    rows, values = _with_usable_target(rows, target)
    labels, kept = (values if target.class_names else None), kept_columns(rows, rules)
    fitted = training_rows(Candidates(len(values), splits, labels, kept, rows.table.column_names), rules)
    dialect = rows.parts[0].dialect
    facts = {
        "text": columns.text,
        "target": replace(target, skipped=total - len(values)),
        "dialect": dialect.facts if dialect else None,
    }
    notes = (*([target.note] if target.note else []), *rows.notes)
    texts = texts_of(rows, columns.text)
    how = (options.features, options.vocabulary, options.max_tokens)
    encoders, encoded = TextEncoders.fitted(texts, fitted, *how, **facts)
    return replace(encoders, notes=(*notes, *encoders.notes)), _arrays(rows, encoded, values), kept


def _encode(
    split: str, names: Sequence[str], options: TextOptions, encoders: TextEncoders, rules: SplitRules
) -> tuple[Arrays, Kept, Sequence[str]]:
    """Reads a split and encodes it as the training split; there are no notes about it."""
    rows, values = _usable_rows(split, names, options, encoders)
    return _arrays(rows, encoders.encode(texts_of(rows, encoders.text)), values), kept_columns(rows, rules), ()


def _usable_rows(
    split: str, names: Sequence[str], options: TextOptions, encoders: TextEncoders
) -> tuple[Rows, np.ndarray]:
    """Reads a split: its rows with a usable target of a known class, and their targets."""
    target = encoders.target
    rows = read_texts(names, _reader(split, options, target.names, encoders))
    rows.require((*target.names, encoders.text))
    return with_known_class(*_with_usable_target(rows, target), target.names[0], target.class_names)


def describe_texts(
    files: Mapping[str, Sequence[str]], options: TextOptions, encoders: TextEncoders, split: str, indices: np.ndarray
) -> list[dict[str, Any]]:
    """Returns the texts of examples, {"text": ...}; [] if they cannot be read once more; see `describe_rows`."""
    if not is_cheap(names := files.get(split, ())):
        return []
    try:
        rows, values = _usable_rows(split, names, options, encoders)
    except (TfloopError, OSError, pa.ArrowException):
        return []
    texts = texts_of(rows, encoders.text)
    return [{"text": texts[index]} for index in indices.tolist()] if len(values) > indices.max(initial=-1) else []


def _reader(split: str, options: TextOptions, targets: Sequence[str], encoders: TextEncoders | None) -> CsvReader:
    nulls = null_texts(MISSING_VALUES)
    are_classes = encoders.target.has_named_classes if encoders else options.classes is not False
    return CsvReader(split, options.dialect, targets, (), nulls, encoders.dialect if encoders else None, are_classes)


def _settings(rows: Rows) -> Settings:
    dialect = rows.parts[0].dialect
    return Settings(MISSING_VALUES, exact_categories=True, decimal=dialect.decimal if dialect else ".")


def _with_usable_target(rows: Rows, target: TargetEncoder) -> tuple[Rows, np.ndarray]:
    values, usable = encode_target([rows.table.column(name) for name in target.names], target, _settings(rows))
    return with_target(rows, values, usable, target.names)


def _arrays(rows: Rows, encoded: Arrays, targets: np.ndarray) -> Arrays:
    """Returns the arguments of `TextSource`, and keeps checksums of them."""
    tokens, starts, *weights = encoded
    for_each = [(one, starts) for one in (tokens, *weights)]
    build_context().files.check(rows.split, len(targets), [(targets, None), *for_each], rows.place)
    targets = targets if targets.dtype == np.int32 else targets.astype(np.float32)
    return (*encoded[:2], targets, *encoded[2:])
