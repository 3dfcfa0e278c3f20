"""Reads a table of the paths of images and their classes."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from tfloop_cli.config.data_paths import IMAGE_SUFFIXES
from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.class_names import composed
from tfloop_cli.engine.data.images.files import Listed, file_at
from tfloop_cli.engine.data.images.layout import Layout
from tfloop_cli.engine.data.invalid_examples import count_skipped, require_valid_examples, skip_example
from tfloop_cli.engine.data.problems import invalid_row
from tfloop_cli.engine.data.tables.csv_reading import CsvReader
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.reading import read_rows
from tfloop_cli.engine.data.tables.values import as_written
from tfloop_cli.errors import short_path


def read_label_table(layout: Layout, split: str, table: Path, columns: tuple[str, str]) -> list[Listed]:
    """Returns the images of a table, in its order, and adds the names of its columns to the layout.

    Rows without a class are skipped and counted.
    """
    root = layout.folders[split]
    if not table.exists() and (root / table.name).exists():
        table = root / table.name
    rows = read_rows(short_path(table), CsvReader(split, DialectOptions(are_keys=False), columns[1:], columns, ()))
    rows.require(columns)
    layout.notes += rows.notes
    layout.columns = rows.table.column_names
    keep = [name for name in build_context().rules.columns if name in layout.columns]
    words = [as_written(rows.table.column(column)) for column in (*columns, *keep)]
    cells = zip(*(one.take(np.array(one.texts.to_pylist(), object), "") for one in words), strict=True)
    found, unlabelled = [], []
    for number, (name, label, *others) in enumerate(cells):
        if not label.strip():
            unlabelled.append(number)
        elif not name.strip():
            problem = f"the column `{columns[0]}` is empty"
            skip_example(split, invalid_row(split, *rows.place(number), problem))
        elif one := file_at(split, _path_of(root, table.parent, name), name):
            found.append(replace(one, label=composed(label), cells=dict(zip(keep, others, strict=True))))
    if unlabelled:
        error = invalid_row(split, *rows.place(unlabelled[0]), f"the column `{columns[1]}` is empty")
        count_skipped(split, error, len(unlabelled))
    require_valid_examples(split, len(found))
    return found


def _path_of(root: Path, beside: Path, name: str) -> str:
    """Returns the path of a file that a table names, relative to the folder or the table, maybe without suffix."""
    for folder in (root, beside):
        for suffix in ("", *IMAGE_SUFFIXES):
            if os.path.lexists(path := folder / f"{name}{suffix}") and not path.is_dir():
                return str(path)
    return str(root / name)
