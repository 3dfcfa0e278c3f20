"""Data as an argument of a command: the dataset that reads it, the built-in config, the column to predict.

TensorFlow is not loaded: only the first rows of a table are read.
"""

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfloop_cli.config.data_paths import (
    Layers,
    data_sets,
    dataset_of,
    is_data,
    lacks_target,
    name_of,
    preset_of,
)
from tfloop_cli.config.loading import load
from tfloop_cli.engine.data.array_files import find_arrays
from tfloop_cli.engine.data.images.classes import classes_of
from tfloop_cli.engine.data.images.layout import find_images
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.preview import column_names, first_rows, has_images
from tfloop_cli.engine.data.texts.reading import ROW_NAMES
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.runs.folder import RunFolder

_OF_ROWS = ("table", "text")  # datasets that read the same files
_PRESETS = {3: "tabular_mlp", 4: "images"}  # dimensions of the inputs -> what suits such arrays
_ROWS = 20  # of a table that decide whether it has texts
_WORDS, _LETTERS = 4, 25  # a cell with so many words, or letters in a script without spaces, is a text on average


def layers(
    arguments: Sequence[str], configs: Sequence[str], dataset: str | None, target: str | None, sets: Sequence[str]
) -> Layers:
    """Returns what arguments, each a config or data, and the options on data mean for `loading.load`.

    Args:
        arguments: positional ones; at most one is data.
        configs: of `--config`.
        dataset: the dataset that reads the data; None for that of the configs, or the one that suits the files.
        target: the column to predict, see `data_sets`.
        sets: of `--set`; they take precedence.

    Raises:
        TfloopError: data is named twice, a folder has none that is known, or the column to predict is not named (exit
            code 2); a table cannot be read (4).
    """
    paths = [one for one in arguments if is_data(one) or (dataset and Path(one).is_file() and not Path(one).suffix)]
    configs = [*(one for one in arguments if one not in paths), *configs]
    if len(paths) > 1:
        raise TfloopError(f"data is named twice: {paths[0]} and {paths[1]}", hint="several files are a pattern")
    path = paths[0] if paths else None
    if path:
        _require_data(path)
        dataset = dataset or _dataset_of_rows(configs, sets, suitable_dataset(path, target))
    presets = [preset_of_data(path, dataset)] if dataset and not configs else []
    named = data_sets(path, dataset, target)
    if path and lacks_target([*named, *sets], configs):
        raise unknown_target(path)
    return Layers([*presets, *configs], [*named, *sets], name_of(path) if path and not configs else None)


def suitable_dataset(path: str, target: str | None) -> str:
    """Returns the dataset that suits a file or a folder; `text` and `images` for a table of them and one other column.

    Raises:
        TfloopError: a folder has no data that is known (exit code 2); a table cannot be read (4).
    """
    found = dataset_of(path)
    if found == "table" and has_images(path):
        return "images"
    is_text = found == "table" and _has_texts(first_rows([path], DialectOptions(), (), _ROWS), target)
    return "text" if is_text else found


def require_classes(path: str, target: str | None) -> None:
    """Raises TfloopError, as training does, unless images have classes (exit code 4); `target` is their column."""
    classes_of(find_images(Path(path).expanduser(), None, (None, target, "split"), None))


def preset_of_data(path: str | None, dataset: str) -> str:
    """Returns the built-in config that suits data; that of arrays depends on the shape of the inputs.

    Raises:
        TfloopError: an array file cannot be read (exit code 4).
    """
    if dataset != "arrays" or not path:
        return preset_of(dataset)
    inputs = [one for name, one in find_arrays(Path(path)).items() if name.startswith(("x", "inputs"))]
    return _PRESETS.get(max((len(one.shape) for one in inputs), default=0), preset_of(dataset))


def columns(path: str) -> list[str]:
    """Returns the names of the columns of a table.

    Raises:
        TfloopError: the file cannot be read, or has no columns (exit code 4).
    """
    if found := column_names(path):
        return found
    raise TfloopError(f"{path}: there is no table in this file", hint="is it empty?", code=ExitCode.DATA)


def unknown_target(path: str) -> TfloopError:
    """Returns the error for a table without a column to predict: it names the columns.

    Raises:
        TfloopError: the file cannot be read, or has no columns (exit code 4).
    """
    names = ", ".join(f"`{name}`" for name in columns(path))
    return TfloopError(f"{path}: which column is to be predicted?", hint=f"`--target COLUMN`, one of {names}")


def _require_data(path: str) -> None:
    """Raises TfloopError (exit code 2) for what is neither data nor a pattern of files."""
    if RunFolder(Path(path)).is_run():
        raise TfloopError(f"{path} is a run folder and not data", hint=f"to continue it: `tfloop resume {path}`")
    if not Path(path).expanduser().exists() and not glob.has_magic(path):
        first_rows([path], DialectOptions(), (), 1)  # raises, and suggests the nearest file


def _dataset_of_rows(configs: Sequence[str], sets: Sequence[str], found: str) -> str:
    """Returns the dataset of the configs, if it reads the same files as `found`; else `found`."""
    if not configs or "-" in configs or found not in _OF_ROWS:  # stdin can be read only once
        return found
    try:
        configured = load(configs, sets=sets).config.dataset.name
    except TfloopError:  # incomplete without the data, or wrong, which is reported with its place later
        return found
    return configured if configured in _OF_ROWS else found


def _has_texts(rows: Sequence[Mapping[str, str]], target: str | None) -> bool:
    """Whether there are two columns besides row numbers, and the one not to be predicted has texts of several words."""
    names = [name for name in rows[0] if name == target or name.strip().lower() not in ROW_NAMES] if rows else []
    cells = {name: [row[name] for row in rows if row.get(name)] for name in names}
    if len(cells) != 2 or (target and target not in cells):
        return False
    name = next(name for name in cells if name != target) if target else max(cells, key=lambda one: _size(cells[one]))
    words, letters = (sum(map(len, found)) for found in ([one.split() for one in cells[name]], cells[name]))
    return bool(cells[name]) and (words >= _WORDS * len(cells[name]) or letters >= _LETTERS * len(cells[name]))


def _size(cells: Sequence[str]) -> float:
    return sum(map(len, cells)) / max(len(cells), 1)
