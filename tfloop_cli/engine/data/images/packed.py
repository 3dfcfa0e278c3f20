"""Images in a column of .parquet files, with a column of classes, as Hugging Face has them.

Messages show such an image as FILE::COLUMN::ROW. Rows are read a row group at a time, when they are decoded.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.class_names import composed
from tfloop_cli.engine.data.images.contents import InnerPath
from tfloop_cli.engine.data.images.label_table import column_of_classes
from tfloop_cli.engine.data.images.layout import Columns, Layout
from tfloop_cli.engine.data.images.listing import Listed, Listing
from tfloop_cli.engine.data.invalid_examples import require_valid_examples, skip_example
from tfloop_cli.engine.data.problems import invalid_row, refuse
from tfloop_cli.engine.data.tables.class_labels import class_labels, named
from tfloop_cli.engine.data.tables.values import as_written
from tfloop_cli.errors import short_path

WITHIN = "::"  # between file, column and row
GROUPS = 8  # row groups in memory at once


class PackedImage(InnerPath):
    """An image in a row of a .parquet file."""

    __slots__ = ("column", "file", "row")
    file: str
    column: str
    row: int

    @classmethod
    def at(cls, file: str, column: str, row: int) -> Self:
        """Returns the image in a row, counted from 0."""
        path = cls(f"{file}{WITHIN}{column}{WITHIN}{row}")
        path.file, path.column, path.row = file, column, row
        return path

    def read(self) -> bytes:
        """Returns the bytes of the image.

        Raises:
            OSError: the file cannot be read, or the row has no image.
        """
        try:
            group, offset = _place(self.file, self.row)
            value = _group(self.file, self.column, group)[offset].as_py()
        except pa.ArrowException as error:
            raise OSError(str(error)) from error
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None:
            raise OSError("the row has no image")
        return bytes(content)


def read_packed(layout: Layout, tables: Mapping[str, Sequence[Path]], columns: Columns) -> bool:
    """Adds the images of each split to a layout, in order; returns False if there is no column of images.

    Args:
        layout: of the dataset.
        tables: name of a split -> its .parquet files.
        columns: names of those of images, of classes, and of splits, which is not used; None: they are found.

    Raises:
        TfloopError: a file cannot be read, or it is not clear which column has the classes (exit code 4).
    """
    first = next(iter(tables.values()))[0]
    schema = _schema(first)
    image = columns[0] or next((field.name for field in schema if _is_image(field.type)), None)
    if image is None or image not in schema.names or not _is_image(schema.field(image).type):
        return False
    others = [field.name for field in schema if field.name != image and not pa.types.is_nested(field.type)]
    target = columns[1] or column_of_classes(others, first)
    for split, files in tables.items():
        layout.folders[split] = files[0].parent
        images = (one for file in files for one in _images(split, file, image, target))
        layout.splits[split] = Listing(layout.folders[split], images)
        require_valid_examples(split, len(layout.splits[split]))
    layout.columns = schema.names
    layout.notes.append(f"images in the column `{image}`, classes in `{target}` (keys `file_column`, `target`)")
    return True


def paths_in(file: Path) -> list[str]:
    """Returns the paths of all images in a .parquet file, for `open_image`; [] if it has no column of images."""
    schema = _schema(file)
    image = next((field.name for field in schema if _is_image(field.type)), None)
    rows = parquet.read_metadata(file).num_rows if image else 0
    return [PackedImage.at(str(file), str(image), row) for row in range(rows)]


def _schema(file: Path) -> pa.Schema:
    try:
        return parquet.read_schema(file)
    except (OSError, pa.ArrowException) as error:
        refuse(short_path(file), None, f"it cannot be read: {error}")


def _is_image(kind: pa.DataType) -> bool:
    """Whether a type is that of the bytes of files, alone or with their paths."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_image(kind.field("bytes").type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _images(split: str, file: Path, image: str, target: str) -> list[Listed]:
    """Returns the images of a file with their classes; rows without a class are invalid examples."""
    names = [target, *(name for name in build_context().rules.columns if name != target)]
    schema = _schema(file)
    if lacking := [name for name in (image, target) if name not in schema.names]:
        refuse(short_path(file), None, f"there is no column `{lacking[0]}`")
    table = parquet.read_table(file, columns=[name for name in names if name in schema.names])
    cells = {name: _texts(table.column(name)) for name in table.column_names}
    labels, status = _labels(table.column(target), file, schema, target) or cells[target], file.stat()
    found = []
    for row, label in enumerate(labels):
        if not label:
            skip_example(split, invalid_row(split, short_path(file), row + 1, f"the column `{target}` is empty"))
            continue
        of_row = {name: texts[row] for name, texts in cells.items()}
        path = PackedImage.at(str(file), image, row)
        name = f"{file.name}{WITHIN}{row}"
        found.append(Listed(path, name, status.st_size, status.st_mtime_ns, composed(label), of_row))
    return found


def _labels(numbers: pa.ChunkedArray, file: Path, schema: pa.Schema, target: str) -> list[str]:
    """Returns the names of classes for their numbers, where Hugging Face's description has them; [] if it has not."""
    names = class_labels(file, schema.metadata, target)
    replaced = named(numbers, names) if names else None
    return [] if replaced is None else _texts(replaced)


def _texts(column: pa.ChunkedArray) -> list[str]:
    words = as_written(column)
    texts: list[str] = words.take(np.array(words.texts.to_pylist(), object), "").tolist()
    return texts


@lru_cache(64)
def _ends(file: str) -> np.ndarray:
    metadata = parquet.read_metadata(file)
    return np.cumsum([metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)])


def _place(file: str, row: int) -> tuple[int, int]:
    """Returns the row group of a row, and the number of the row in it."""
    ends = _ends(file)
    group = int(np.searchsorted(ends, row, side="right"))
    return group, row - (int(ends[group - 1]) if group else 0)


@lru_cache(GROUPS)
def _group(file: str, column: str, group: int) -> pa.ChunkedArray:
    return parquet.ParquetFile(file).read_row_group(group, [column]).column(0)
