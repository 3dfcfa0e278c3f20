"""Reads texts with their targets: rows of files, as tables are read, or a folder of text files per class."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tfloop_cli.config.data_paths import split_tables
from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.invalid_examples import require_valid_examples, skip_example
from tfloop_cli.engine.data.problems import invalid_row, refuse, wrong_byte
from tfloop_cli.engine.data.split_names import split_folders
from tfloop_cli.engine.data.tables.csv_reading import CsvReader
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.files import TableFile, other_tables
from tfloop_cli.engine.data.tables.json_reading import to_utf8
from tfloop_cli.engine.data.tables.preview import first_rows
from tfloop_cli.engine.data.tables.reading import Part, Rows, listing
from tfloop_cli.engine.data.tables.trained_rows import read_split
from tfloop_cli.errors import short_path

TARGETS = ("label", "target", "class", "category")  # the columns that are the target by default, the first one found
ROW_NAMES = ("", "id", "index", "rownames", "unnamed: 0")  # of columns that number the rows, in lower case
FOLDER_COLUMNS = ("text", "label")  # of a folder of texts


@dataclass(frozen=True)
class Columns:
    """The columns with the text and the targets; "" and () for those that the file decides."""

    text: str = ""
    targets: tuple[str, ...] = ()

    def of(self, rows: Rows) -> "Columns":
        """Returns the columns of a file; raises TfloopError (exit code 4) if they are not known."""
        rows.require(filter(None, (self.text, *self.targets)))
        names = rows.table.column_names
        targets = self.targets or tuple(name for name in TARGETS if name in names and name != self.text)[:1]
        others = [name for name in names if name not in targets]
        if len(others) > 1:
            others = [name for name in others if name.strip().lower() not in ROW_NAMES]
        text = self.text or ("text" if "text" in others else others[0] if targets and len(others) == 1 else "")
        if text and not targets and len(names) == 2:
            targets = tuple(name for name in names if name != text)
        for key, found in (("target", targets), ("text", text)):
            if not found:
                hint = f"set `dataset.{key}` to one of {listing(names)}; if these are no names, set `header: none`"
                rows.refuse(f"which column is the {key}?", hint)
        return Columns(text, targets)


def find_splits(path: Path, training: bool = True) -> dict[str, Path]:
    """Returns the folders of the splits in a folder by the names of the splits; `path` itself is "train" otherwise.

    Args:
        path: a file or folder.
        training: whether the training split is needed.

    Raises:
        TfloopError: there are folders of other splits, but none for training (exit code 4).
    """
    return (split_folders(path, _folders(path), training) if path.is_dir() else {}) or {"train": path}


def other_texts(path: Path) -> Path | list[Path]:
    """Returns the files of other data, or their folder if it has folders of classes; see `other_tables`."""
    return path if path.is_dir() and (_folders(path) or not split_tables(path)) else other_tables(path)


def read_texts(names: Sequence[str], reader: CsvReader) -> Rows:
    """Reads the rows of a split; the columns of a folder are `FOLDER_COLUMNS`.

    Args:
        names: the files, see `read_rows`; or one folder with a subfolder of .txt files per class.
        reader: see `text_reader`.

    Raises:
        TfloopError: a file is missing, of another type, malformed or empty, or an example is invalid and such examples
            are not skipped (exit code 4).
    """
    folder = Path(names[0]).expanduser()
    return _read_folder(folder, reader) if len(names) == 1 and folder.is_dir() else read_split(names, reader)


def texts_of(rows: Rows, column: str) -> list[str]:
    """Returns the texts of a column, as they are written; a missing one is ""."""
    found = rows.table.column(column)
    if pa.types.is_nested(found.type) or pa.types.is_binary(found.type):
        rows.refuse(f"column `{column}` has values of type {found.type}, not text")
    texts: list[str] = pc.fill_null(found.cast(pa.string()), "").to_pylist()
    return texts


def first_texts(
    names: Sequence[str], columns: Columns, options: DialectOptions, count: int
) -> Sequence[Mapping[str, str]]:
    """Returns the first texts of a file, or the first one of each class of a folder: name of a column -> its text.

    Args:
        names: the files of a split, or one folder.
        columns: with the text and the targets.
        options: what the user has set.
        count: at most so many texts.
    """
    path = Path(names[0]).expanduser()
    if not path.is_dir():
        shown = (*columns.targets, columns.text)
        return [
            {name: row.get(name, "") for name in shown} for row in first_rows(names, options, columns.targets, count)
        ]
    found = []
    for label in _folders(path)[:count]:
        file = min((file for file in (path / label).rglob("*") if is_text_file(file, path)), default=None)
        with suppress(OSError, UnicodeError):
            if file is not None:
                found.append({"label": label, "text": to_utf8(file.read_bytes(), options.encoding).decode()})
    return found


def _read_folder(path: Path, reader: CsvReader) -> Rows:
    """Returns the .txt files below each subfolder, sorted by path."""
    texts, labels, parts = [], [], []
    found = [
        (label, file)
        for label in _folders(path)
        for file in sorted(file for file in (path / label).rglob("*") if is_text_file(file, path))
    ]
    names = [file.relative_to(path).as_posix() for _, file in found]
    for label, file in [found[number] for number in build_context().files.choose(reader.split, names)]:
        name, line, hint = short_path(file), 1, None
        try:
            content = file.read_bytes()
            texts.append(to_utf8(content, reader.options.encoding).decode())
        except UnicodeDecodeError as error:
            line, hint = content.count(b"\n", 0, error.start) + 1, reader.options.hint("encoding")
            problem = wrong_byte(error)
        except (OSError, UnicodeError) as error:
            problem = f"it cannot be read: {getattr(error, 'strerror', None) or error}"
        else:
            labels.append(label)
            parts.append(Part(TableFile(name, "text"), 1))
            continue
        skip_example(reader.split, invalid_row(reader.split, name, line, problem, hint))
    require_valid_examples(reader.split, len(texts))
    if not texts:
        rename = f"find {short_path(path)} -type f -exec mv {{}} {{}}.txt \\;"
        hint = f"a folder of texts has CLASS/*.txt; {rename} gives all files this suffix"
        refuse(short_path(path), None, "there are no texts in it", hint=hint)
    table = pa.table({"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.string())})
    return Rows(reader.split, table, tuple(parts), options=reader.options)


def _folders(path: Path) -> list[str]:
    """Returns the names of the subfolders, sorted, without hidden ones and those that archives and editors leave."""
    names = sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    return [name for name in names if not name.startswith((".", "__"))]


def is_text_file(file: Path, root: Path) -> bool:
    """Whether a file below a folder is a text, and neither hidden nor left by an archive or an editor."""
    parts = file.relative_to(root).parts
    return file.suffix.lower() == ".txt" and file.is_file() and not any(one.startswith((".", "__")) for one in parts)
