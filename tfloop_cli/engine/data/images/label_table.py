"""Reads a table of the paths of images and their classes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tfloop_cli.config.data_formats import IMAGE_SUFFIXES
from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.class_names import composed
from tfloop_cli.engine.data.images.files import file_at
from tfloop_cli.engine.data.images.layout import Columns, Layout
from tfloop_cli.engine.data.images.listing import Listing
from tfloop_cli.engine.data.images.named_files import FOUND, folders_of, path_of
from tfloop_cli.engine.data.invalid_examples import count_skipped, require_valid_examples, skip_example
from tfloop_cli.engine.data.problems import invalid_row, refuse
from tfloop_cli.engine.data.split_names import split_of
from tfloop_cli.engine.data.tables.csv_reading import CsvReader
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.preview import first_rows
from tfloop_cli.engine.data.tables.reading import Rows, read_rows
from tfloop_cli.engine.data.tables.values import as_written
from tfloop_cli.engine.data.texts.reading import ROW_NAMES, TARGETS
from tfloop_cli.errors import short_path

TRIED_ROWS = 100  # that show which column names images
DISTINCT = 0.9  # the least fraction of the names in a column of images that differ
NUMBERS = ("", "index", "rownames", "unnamed: 0")  # columns of the numbers of rows, in lower case
MAX_NUMBERS, MIN_ROWS = 20, 5  # different numbers that are classes, and rows of each on average


def read_label_table(layout: Layout, root: Path, split: str, table: Path, columns: tuple[str, str, str]) -> None:
    """Adds the images of a table to a layout, in its order, and the names of its columns.

    Rows without a class are skipped and counted.

    Args:
        layout: of the dataset.
        root: the folder of the images.
        split: to which they belong, unless the table has a column of splits.
        table: the file.
        columns: of paths, of classes, and of splits, which may be missing.
    """
    options = DialectOptions(are_keys=False)
    rows = read_rows(short_path(table), CsvReader(split, options, columns[1:2], columns[:2], ()))
    rows.require(columns[:2])
    layout.notes += rows.notes
    layout.columns = rows.table.column_names
    keep = [name for name in build_context().rules.columns if name in layout.columns]
    names, labels, *others = [_texts(rows, column) for column in (*columns[:2], *keep)]
    if split == "train":
        _refuse_numbers(labels, columns[1], rows.place(0)[0])
    splits = _splits(_texts(rows, columns[2])) if split == "train" and columns[2] in layout.columns else []
    found = {one: Listing(root) for one in dict.fromkeys(splits or [split])}
    hint = f"paths are relative to {short_path(root)} or to the table; `--set on_bad_example=skip` skips such rows"
    folders, unlabelled, elsewhere = folders_of(root, table.parent, [name for name in names if name.strip()]), [], 0
    for number, (name, label) in enumerate(zip(names, labels, strict=True)):
        if not label.strip():
            unlabelled.append(number)
        elif not name.strip():
            problem = f"the column `{columns[0]}` is empty"
            skip_example(split, invalid_row(split, *rows.place(number), problem))
        else:
            path, is_moved = path_of(folders, name)
            if one := file_at(split, path, name, hint):
                cells = {column: texts[number] for column, texts in zip(keep, others, strict=True)}
                own = splits[number] if splits else split
                found[own].extend([replace(one, label=composed(label), cells=cells)])
                elsewhere += is_moved
    if unlabelled:
        error = invalid_row(split, *rows.place(unlabelled[0]), f"the column `{columns[1]}` is empty")
        count_skipped(split, error, len(unlabelled))
    if elsewhere:
        layout.notes.append(f"{elsewhere:,} paths of another folder in the table: their last parts are in {root.name}/")
    if splits:
        layout.notes.append(f"splits by the column `{columns[2]}` of the table (key `split_column`)")
    require_valid_examples(split, sum(map(len, found.values())))
    layout.splits |= {name: listed for name, listed in found.items() if listed or name == "train"}
    layout.folders |= dict.fromkeys(layout.splits, root)


def columns_of(table: Path, root: Path, columns: Columns) -> tuple[str, str, str] | None:
    """Returns the columns of a table of images: paths, classes, splits.

    Those that are not named are found: that of paths by its name, or since its values are different and name images;
    that of classes by its name, or as the only other one.

    Args:
        table: the file.
        root: the folder of the images.
        columns: as the user named them; None for those to be found.

    Returns:
        None if there is no such table, or no column of it names images.

    Raises:
        TfloopError: it is not clear which column has the classes (exit code 4).
    """
    if not table.is_file():
        return None
    rows = first_rows([str(table)], DialectOptions(are_keys=False), [one for one in columns[:2] if one], TRIED_ROWS)
    names = list(rows[0]) if rows else []
    file, target, split = columns
    if file is None and "file" not in names:
        found = {name: _found(rows, name, table, root) for name in names if name.strip().lower() not in NUMBERS}
        file = max(found, key=lambda name: found[name], default="")
        file = file if found.get(file, 0) >= FOUND else None
    file = file or "file"
    others = [name for name in names if name not in (file, split) and name.strip().lower() not in ROW_NAMES]
    if file not in names or not others:
        return None
    return file, target or column_of_classes(others, table), split


def column_of_classes(names: Sequence[str], table: Path) -> str:
    """Returns the column that has the classes, among all that may have them: by its name, or as the only one.

    Raises:
        TfloopError: it is not clear which one it is (exit code 4).
    """
    found = next((name for name in TARGETS if name in names), None) or (names[0] if len(names) == 1 else None)
    if found is None:
        hint = f"`--target COLUMN`, one of {', '.join(f'`{name}`' for name in names)}" if names else None
        refuse(short_path(table), None, "which column has the classes of the images?", hint=hint)
    return found


def _found(rows: Sequence[Mapping[str, str]], column: str, table: Path, root: Path) -> float:
    """Returns the fraction of the values of a column that name images; 0 if they are not different."""
    values = [row[column] for row in rows if row.get(column)]
    if not values or len(set(values)) < DISTINCT * len(values):
        return 0.0
    folders = folders_of(root, table.parent, values)
    paths = [Path(path_of(folders, value)[0]) for value in values]
    return sum(path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() for path in paths) / len(values)


def _texts(rows: Rows, column: str) -> list[str]:
    words = as_written(rows.table.column(column))
    texts: list[str] = words.take(np.array(words.texts.to_pylist(), object), "").tolist()
    return texts


def _splits(names: list[str]) -> list[str]:
    """Returns the split of each row; [] if they are not the names of splits, or all are of one split."""
    found = [split_of(name.strip()) or "" for name in names]
    return found if "" not in found and "train" in found and len(set(found)) > 1 else []


def _refuse_numbers(labels: list[str], column: str, file: str) -> None:
    """Raises TfloopError (exit code 4) if the classes are rather numbers to be predicted: 0.5, 1.25, ..."""
    values = {label.strip() for label in labels} - {""}
    if len(values) <= MAX_NUMBERS and MIN_ROWS * len(values) <= len(labels):
        return
    numbers = all(re.fullmatch(r"[-+]?\d+(\.\d+)?", value) for value in values)
    if numbers and any(float(value) % 1 for value in values):  # 3.0 may be the number of a class
        problem = f"the column `{column}` has {len(values):,} different numbers, which are no classes"
        refuse(file, None, problem, hint="images can be classified only; a table with fewer classes can be made of it")
