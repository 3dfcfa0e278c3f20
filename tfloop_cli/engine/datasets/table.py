"""Tables of numbers, categories, dates and texts: one row per example, one column per feature."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from tfloop_cli.engine.data.array_dataset import fingerprint_of
from tfloop_cli.engine.data.array_source import ArraySource
from tfloop_cli.engine.data.build_context import DATA, build_context
from tfloop_cli.engine.data.columns import columns_of
from tfloop_cli.engine.data.invalid_examples import restore_skipped, skipped_examples, skips_invalid_examples
from tfloop_cli.engine.data.spec import Dataset, DataSpec
from tfloop_cli.engine.data.tables.building import Arrays, TableOptions, build_splits
from tfloop_cli.engine.data.tables.describing import describe_rows
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.encoders import TableEncoders
from tfloop_cli.engine.data.tables.files import STDIN, file_names, find_splits, other_tables
from tfloop_cli.engine.data.tables.folders import labelled_splits
from tfloop_cli.engine.data.tables.preview import first_rows
from tfloop_cli.engine.data.tables.splits_of_files import Kept
from tfloop_cli.engine.data.tables.table_cache import Cached, TableCache
from tfloop_cli.engine.data.tables.values import MISSING_VALUES
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import datasets
from tfloop_cli.registry.argument_types import OnResume


@datasets.register("table")
def table(
    *,
    train: Annotated[Path | list[Path], OnResume.CHANGES_REST],
    test: Annotated[Path | list[Path] | None, OnResume.CHANGES_REST] = None,
    target: str | list[str],
    columns: dict[str, Literal["number", "category", "date", "day/month/year", "text", "ignore"]] = {},
    ignore: list[str] = [],
    only: list[str] = [],
    missing: Literal["impute", "skip", "error"] = "impute",
    missing_values: list[str] | None = None,
    exact_categories: bool = False,
    classes: Literal["auto"] | bool = "auto",
    separator: str = "auto",
    header: Literal["auto", "first_line", "two_lines", "none"] = "auto",
    decimal: Literal["auto", ".", ","] | dict[str, Literal[".", ","]] = "auto",
    encoding: str = "auto",
    quote: str = "auto",
    comment: str = "none",
) -> Dataset:
    r"""Rows of a table; one column is predicted from the others. What becomes of each column is printed at the start.

    Files are .csv, .tsv, .txt, .arff, .json, .jsonl, .parquet, .feather, .orc or .db (SQLite), also as .gz, .bz2, .zst,
    .xz or .zip; with the package python-calamine also the first sheet of .xlsx, .xls or .ods. A second column `x` is
    `x.1`. Numbers are standardized by median and quartiles, with bounds for outliers; the default model gets codes as
    ids, too. Categories of up to 12 levels are one-hot encoded, others ids. Dates become their parts. Row numbers, ids,
    free text, constant columns and that of `group` or `split_by` are ignored unless `columns` has them, or there is no
    other column. Rows without a target are skipped. Only the classes are learned from held-out rows, too.

    Args:
        train: the training file; also a list of files, a pattern (`data/*.csv`), `-` for stdin, or a folder: with
            `train.csv`, and perhaps `validation.csv` and `test.csv`, of any type; one without the target is no split.
        test: the test file, or several; null: none.
        target: the column to predict, or a list of several columns of numbers.
        columns: column -> its type, inferred by default; `text` uses its words; 3/4/2024 may be `day/month/year`.
        ignore: columns that are not used.
        only: the only columns that are used; []: all.
        missing: `impute`: missing numbers become the median, and another column marks them; categories have a level
            for them. `skip`: such rows are skipped. `error`: the first one ends the run.
        missing_values: of text, besides empty cells; null: NA, N/A, NaN, null, None, ?, -, ., <NA>, #N/A, \N.
        exact_categories: whether case, spaces at the ends and the notation of numbers make different categories.
        classes: whether the target values are classes; auto: words are, and whole numbers with at least 5 rows each on
            average, if they have at most 20 distinct values, or are 0 to n - 1 in a column `label`, `class` or
            `category`; not words or dates that hardly repeat. With the task `regression` they are numbers.
        separator: between two cells, such as `;` or `::`, `tab`, or `space` for any number of spaces; auto: detected.
        header: `first_line` has the names, all others are rows; `two_lines`: joined; `none`: they are `column_1`, ...
        decimal: the decimal mark, or those of some columns: `{price: ","}`; auto: detected.
        encoding: of the file, such as `latin-1`; auto: detected.
        quote: the quotation mark, or `none`; auto: detected.
        comment: lines that begin with this text are skipped; `none`: there are no such lines.
    """
    targets = (target,) if isinstance(target, str) else tuple(target)
    if not targets or len(set(targets)) < len(targets):
        raise TfloopError("`dataset.target` must be a column, or a list of different columns")
    dialect = DialectOptions(separator, header, decimal, encoding, quote, comment)
    missing_values = MISSING_VALUES if missing_values is None else missing_values
    options = TableOptions(
        targets, columns, tuple(ignore), tuple(only), missing, tuple(missing_values), exact_categories, classes, dialect
    )
    dialect.check()
    return _build({"train": train} | ({"test": test} if test else {}), options)


def _build(paths: dict[str, Path | list[Path]], options: TableOptions) -> Dataset:
    """Reads and encodes the files that are needed, or opens the encoded arrays in the cache."""
    context = build_context()
    splits, notes = _splits(paths, options.targets)
    needed = {DATA: other_tables(context.data)} if context.data else context.needed(splits)
    files = {split: file_names(one) for split, one in needed.items()}
    as_numbers = replace(options, classes=False) if options.classes == "auto" and context.numbers else options
    encoders = TableEncoders.from_json(context.encoders) if context.encoders else None
    preview = partial(first_rows, files.get("train", [STDIN]), options.dialect, options.targets)
    # The run of these encoders may have left it to the data that its targets are numbers.
    for possible in [as_numbers, options] if encoders else [as_numbers]:
        _, found = _cached(files, possible)
        usable = found and context.encoders in (None, found[0]["encoders"])
        if found and usable and context.files.restore(found[0]["files"]):
            document, arrays, kept = found
            restore_skipped(document["skipped"])
            dataset = _dataset(TableEncoders.from_json(document["encoders"]), arrays, kept, document["fingerprint"])
            describe = partial(describe_rows, files, options, dataset.encoders)
            return replace(dataset, preview=preview, describe=describe)
    cache, _ = _cached(files, as_numbers)
    encoders, arrays, kept = build_splits(files, as_numbers, encoders, context.rules)
    encoders = replace(encoders, notes=tuple(dict.fromkeys([*notes, *encoders.notes])))
    names = (encoders.target.class_names, tuple(encoders.spec_columns()))  # equal arrays may mean other things
    fingerprint = hashlib.sha256(f"{fingerprint_of(arrays)} {names}".encode()).hexdigest()
    if not context.encoders:
        document = {"encoders": encoders.to_json(), "skipped": skipped_examples(), "fingerprint": fingerprint}
        document["files"] = context.files.to_json()
        cache.save(document, arrays, kept)
    describe = partial(describe_rows, files, options, encoders)
    return replace(_dataset(encoders, arrays, kept, fingerprint), preview=preview, describe=describe)


def _splits(
    paths: dict[str, Path | list[Path]], targets: tuple[str, ...]
) -> tuple[dict[str, Path | list[Path]], list[str]]:
    """Returns the files of each split, and notes; a training folder has those of other splits, too."""
    train, context = paths["train"], build_context()
    if not isinstance(train, Path):
        return paths, []
    found, notes = find_splits(train, training=context.split is None and context.data is None), list[str]()
    if len(found) > 1:
        found, notes = labelled_splits(found, targets)
    return {**found, **paths} | {split: files for split, files in found.items() if split == "train"}, notes


def _cached(files: dict[str, list[str]], options: TableOptions) -> tuple[TableCache, Cached | None]:
    """Returns the cache entry of a table, and its content if there is one.

    Whether invalid rows are skipped makes no difference for a table that has none.
    """
    skip, rules = skips_invalid_examples(), build_context().rules
    own, other = (TableCache(files, (options, rules, one)) for one in (skip, not skip))
    if (found := own.load()) is None and (found := other.load()) and not skip and found[0]["skipped"]:
        found = None
    return own, found


def _dataset(
    encoders: TableEncoders, arrays: Mapping[str, Arrays], kept: Mapping[str, Kept], fingerprint: str
) -> Dataset:
    inputs, targets = next(iter(arrays.values()))
    names = encoders.target.class_names
    columns = tuple(encoders.spec_columns())
    spec = DataSpec(inputs.shape[1:], str(inputs.dtype), targets.shape[1:], names, columns=columns)
    return Dataset(
        spec=spec,
        splits={name: ArraySource(*pair) for name, pair in arrays.items()},
        fingerprint=fingerprint,
        encoders=encoders,
        columns=columns_of(kept),
    )
