"""The classes of images that are in no folders of classes: in a table beside them, or in their names."""

import os
from collections.abc import Mapping
from pathlib import Path

from tfloop_cli.config.data_formats import TABLE_KINDS, suffix_of
from tfloop_cli.config.data_paths import split_within
from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.images.annotations import refuse_annotations
from tfloop_cli.engine.data.images.files import Scanner
from tfloop_cli.engine.data.images.label_table import columns_of, read_label_table
from tfloop_cli.engine.data.images.layout import OUTSIDE, Columns, Layout, by_pattern
from tfloop_cli.engine.data.images.listing import Listing
from tfloop_cli.engine.data.images.name_patterns import pattern_of


def find_labels(layout: Layout, root: Path, columns: Columns, scanner: Scanner) -> bool:
    """Replaces the images of each split by those with a class in a table, or in their names; returns whether it did.

    Args:
        layout: its images have no classes, or the names of folders such as `images`.
        root: the folder.
        columns: of the table, see `columns_of`.
        scanner: lists files.

    Raises:
        TfloopError: the images have boxes or masks; it is not clear which column has the classes (exit code 4).
    """
    images = {split: scanner.images(split, folder) for split, folder in layout.folders.items()}
    first = next(iter(images), "")
    if not images.get(first):
        return False
    _read_tables(layout, images, root, columns)
    if not layout.columns:
        refuse_annotations(root)
        known = (build_context().encoders or {}).get("class_names", ())
        pattern = pattern_of(images[first].names, known)
        if pattern is None:
            return False
        for split, folder in layout.folders.items():
            layout.splits[split] = by_pattern(split, folder, pattern, scanner, layout.notes, required=split == first)
        one = layout.splits[first][0]
        layout.notes.append(f"classes by the names of the files: {one.name} is `{one.label}` (key `label_pattern`)")
    layout.notes[:] = [note for note in layout.notes if OUTSIDE not in note]
    return True


def _read_tables(layout: Layout, images: Mapping[str, Listing], root: Path, columns: Columns) -> None:
    """Reads the table of each split that has one: in its folder, or for the first split in that of the dataset."""
    folders = dict(layout.folders)
    first = next(iter(folders))
    for split, folder in folders.items():
        if images[split] and (found := _table_of(images[split], folder, root if split == first else folder, columns)):
            table, names = found
            read_label_table(layout, _folder_of(images[split]), split, table, names)
            keys = "keys `labels`, `target`, `file_column`"
            layout.notes.append(
                f"{split}: classes by the column `{names[1]}` of {table.name}, images by `{names[0]}` ({keys})"
            )
    layout.folders = folders


def _table_of(images: Listing, folder: Path, root: Path, columns: Columns) -> tuple[Path, Columns] | None:
    """Returns the table of the classes of images, and its columns: it is in their folder or in that of the dataset."""
    places = dict.fromkeys((folder, _folder_of(images), root, _folder_of(images).parent))
    tables = [table for place in places if place == root or root in place.parents for table in _tables_in(place)]
    tables += [table for table in _tables_in(root.parent) if table.name.startswith(root.name)]  # train/ and train.csv
    for table in sorted(tables, key=lambda one: split_within(one.name.split(".")[0]) not in ("train", None)):
        if found := columns_of(table, _folder_of(images), columns):
            return table, found
    return None


def _tables_in(folder: Path) -> list[Path]:
    kinds = TABLE_KINDS.keys() - {".json", ".geojson"}
    return [path for path in sorted(folder.iterdir()) if suffix_of(path.name) in kinds and path.is_file()]


def _folder_of(images: Listing) -> Path:
    """Returns the folder that has all images."""
    return Path(os.path.commonpath({Path(one.path).parent for one in images}))
