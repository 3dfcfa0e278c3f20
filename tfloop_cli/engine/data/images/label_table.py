"""Reads a table of the paths of images and their classes."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.class_names import composed
from tfloop_cli.engine.data.images.files import Listed, file_at
from tfloop_cli.engine.data.images.label_columns import find_file_column, find_target_column, path_of
from tfloop_cli.engine.data.images.layout import Layout
from tfloop_cli.engine.data.invalid_examples import count_skipped, require_valid_examples, skip_example
from tfloop_cli.engine.data.problems import invalid_row, refuse
from tfloop_cli.engine.data.split_names import split_of
from tfloop_cli.engine.data.tables.csv_reading import CsvReader
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.reading import Rows, read_rows
from tfloop_cli.engine.data.tables.values import as_written
from tfloop_cli.errors import short_path

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
    if not table.exists() and (root / table.name).exists():
        table = root / table.name
    rows, columns, folders = _read(layout, root, split, table, columns)
    keep = [name for name in build_context().rules.columns if name in layout.columns]
    names, labels, *others = [_texts(rows, column) for column in (*columns[:2], *keep)]
    if split == "train":
        _refuse_numbers(labels, columns[1], rows.place(0)[0])
    splits = _splits(_texts(rows, columns[2])) if split == "train" and columns[2] in layout.columns else []
    found: dict[str, list[Listed]] = {one: [] for one in dict.fromkeys(splits or [split])}
    hint = f"paths are relative to {short_path(root)} or to the table; `--set on_bad_example=skip` skips such rows"
    unlabelled, elsewhere = [], 0
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
                found[own].append(replace(one, label=composed(label), cells=cells))
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


def _read(
    layout: Layout, root: Path, split: str, table: Path, columns: tuple[str, str, str]
) -> tuple[Rows, tuple[str, str, str], tuple[Path, ...]]:
    """Returns the rows of a table, its columns of paths, classes and splits, and the folders of the paths."""

    def read(target: str, as_text: tuple[str, ...]) -> Rows:
        return read_rows(short_path(table), CsvReader(split, DialectOptions(are_keys=False), [target], as_text, ()))

    rows = read(columns[1], columns[:2])
    known = rows.table.column_names
    file, folders = find_file_column(known, partial(_texts, rows), columns[0], root, table.parent)
    target = find_target_column(known, columns[1], [file, columns[2], *build_context().rules.columns])
    found = [
        f"{what} are in `{one}` (key `{key}`)"
        for what, one, key, given in (
            ("files", file, "file_column", columns[0]), ("classes", target, "target", columns[1]),
        )
        if one != given
    ]  # fmt: skip
    if found:
        rows = read(target, (file, target))  # classes as they are written
        layout.notes.append(f"columns of {table.name}: {', '.join(found)}")
    for key, name in (("file_column", file), ("target", target)):
        rows.require([name], f"`{key}`: ")
    if folders[2:]:
        listed = ", ".join(f"`{one.relative_to(root)}`" for one in folders[2:5]) + (", ..." if folders[5:] else "")
        layout.notes.append(f"the files of {table.name} are looked for in {listed} too")
    layout.notes += rows.notes
    layout.columns = known
    return rows, (file, target, columns[2]), folders


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
