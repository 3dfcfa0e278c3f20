"""Reads labelled texts: rows of a file, or a folder of text files per class."""

import itertools
import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tfloop_cli.config.suggestions import nearest
from tfloop_cli.engine.data.csv_and_jsonl import Format, Row, invalid_row, read_rows, refuse, wrong_byte
from tfloop_cli.engine.data.invalid_examples import require_valid_examples, skip_example
from tfloop_cli.errors import TfloopError, short_path

TARGETS = ("label", "target", "class", "category")  # the columns that are the target by default, the first one found
SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Columns:
    """The columns with the text and the target; "" for those that the file decides."""

    text: str = ""
    target: str = ""

    def of(self, row: Row) -> "Columns":
        """Returns the columns of a file with such rows; raises TfloopError (exit code 4) if they are not known."""
        names = list(row.cells)
        for name in filter(None, (self.text, self.target)):
            if name not in names:
                row.refuse(f"there is no column `{name}`", nearest(name, names, "the columns are"))
        target = self.target or next((name for name in TARGETS if name in names and name != self.text), "")
        others = [name for name in names if name != target]
        text = self.text or ("text" if "text" in others else others[0] if target and len(others) == 1 else "")
        if text and not target and len(names) == 2:
            target = next((name for name in names if name != text), "")
        for key, name in (("target", target), ("text", text)):
            if not name:
                hint = f"set `dataset.{key}` to one of {', '.join(f'`{one}`' for one in names)}"
                refuse(row.file, None, f"which column is the {key}?", hint)
        return Columns(text, target)


@dataclass
class Texts:
    """The texts of a split.

    Attributes:
        texts: in Unicode NFC.
        labels: the class of each text, as written, in Unicode NFC.
        columns: where they are; of a folder, `text` and `label`.
        names: of all columns of a file; none of a folder.
        others: of the columns to be kept, the text of each example; "" if it is missing.
    """

    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    columns: Columns = Columns()
    names: list[str] = field(default_factory=list)
    others: dict[str, list[str]] = field(default_factory=dict)

    def classes(self, names: Sequence[str]) -> np.ndarray:
        """Returns the labels as numbers, int32 [examples]."""
        number = {name: number for number, name in enumerate(names)}
        return np.array([number[label] for label in self.labels], np.int32)


def find_splits(path: Path) -> dict[str, Path]:
    """Returns the folders of the splits in a folder by the names of the splits; `path` itself is "train" otherwise."""
    inside = {name.lower(): path / name for name in _folders(path)} if path.is_dir() else {}
    found = {
        split: next((inside[name] for name in names if name in inside), None) for split, names in SPLIT_FOLDERS.items()
    }
    return {split: folder for split, folder in found.items() if folder} if found["train"] else {"train": path}


def read_texts(
    path: Path,
    split: str,
    columns: Columns,
    file_format: Format,
    known: Set[str] | None = None,
    keep: Collection[str] = (),
) -> Texts:
    """Reads the texts of a split; invalid ones are skipped or raise an error.

    Args:
        path: a file that `read_rows` can read, or a folder with a subfolder of .txt files per class.
        split: the name of the split.
        columns: of the file.
        file_format: how the file is written.
        known: the allowed classes; None for any.
        keep: names of other columns of the file whose text is kept, if it has them.
    """
    is_folder = path.is_dir()
    texts = Texts(columns=Columns("text", "label") if is_folder else Columns())
    for row in _read_folder(path, split, file_format) if is_folder else read_rows(path, split, file_format):
        try:
            found = texts.columns if texts.columns.text else columns.of(row)
            label, content = _label(row, found.target, known), row.cell(found.text)
        except TfloopError as error:
            skip_example(split, error)
            continue
        texts.names = texts.names or ([] if is_folder else list(row.cells))
        for name in keep:
            texts.others.setdefault(name, []).append(row.cells.get(name, ""))
        texts.columns = found
        texts.texts.append(content if content.isascii() else unicodedata.normalize("NFC", content))
        texts.labels.append(label)
    require_valid_examples(split, len(texts.texts))
    texts.others = {name: values for name, values in texts.others.items() if name in texts.names or any(values)}
    return texts


def first_texts(path: Path, columns: Columns, file_format: Format, count: int) -> list[dict[str, str]]:
    """Returns the first texts of a file, or of each class of a folder: name of a column -> its text.

    Args:
        path: see `read_texts`.
        columns: of the file; "text" and "label" of a folder.
        file_format: how the file is written.
        count: at most so many texts.
    """
    folders = [path / name for name in _folders(path)] if path.is_dir() else []
    found: Iterator[Row] = read_rows(path, "train", file_format) if not folders else _first_of(folders, file_format)
    rows = itertools.islice(found, count)
    return [{name: row.cells.get(name, "") for name in (columns.target, columns.text)} for row in rows]


def _first_of(folders: Sequence[Path], file_format: Format) -> Iterator[Row]:
    for folder in folders:
        first = min((file for file in folder.rglob("*") if _is_text(file, folder)), default=None)
        if first is not None:
            text = file_format.decode(first.read_bytes())
            yield Row("train", short_path(first), 1, {"text": text, "label": folder.name})


def _label(row: Row, column: str, known: Set[str] | None) -> str:
    """Returns the class of a row; raises TfloopError if it has none or an unknown one."""
    label = row.cell(column)
    if not label:
        row.refuse(f"the label is missing (column `{column}`)")
    label = label if label.isascii() else unicodedata.normalize("NFC", label)
    if known is not None and label not in known:
        row.refuse(f"the label `{label}` does not occur in the training split")
    return label


def _read_folder(path: Path, split: str, file_format: Format) -> Iterator[Row]:
    """Yields the .txt files below each subfolder, sorted, as rows with the cells `text` and `label`."""
    empty = True
    for label in _folders(path):
        for file in sorted(file for file in (path / label).rglob("*") if _is_text(file, path)):
            empty = False
            try:
                data = file.read_bytes()
                yield Row(split, short_path(file), 1, {"text": file_format.decode(data), "label": label})
            except OSError as error:
                problem = f"it cannot be read: {error.strerror or error}"
                skip_example(split, invalid_row(split, short_path(file), 1, problem))
            except UnicodeDecodeError as error:
                line = data.count(b"\n", 0, error.start) + 1
                skip_example(split, invalid_row(split, short_path(file), line, *wrong_byte(error)))
    if empty:
        require_valid_examples(split, 0)
        refuse(short_path(path), None, "there are no texts in it", hint="a folder of texts has CLASS/*.txt")


def _folders(path: Path) -> list[str]:
    """Returns the names of the subfolders, sorted, without hidden ones and those that archives and editors leave."""
    names = sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    return [name for name in names if not name.startswith((".", "__"))]


def _is_text(file: Path, root: Path) -> bool:
    parts = file.relative_to(root).parts
    return file.suffix.lower() == ".txt" and file.is_file() and not any(one.startswith((".", "__")) for one in parts)
