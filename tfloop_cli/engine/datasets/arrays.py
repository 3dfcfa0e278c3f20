"""Arrays in .npz and .npy files."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import psutil
import tensorflow as tf

from tfloop_cli.engine.data.array_dataset import fingerprint_of, from_arrays
from tfloop_cli.engine.data.array_encoders import ArrayEncoders
from tfloop_cli.engine.data.array_files import StoredArray, choose, find_arrays
from tfloop_cli.engine.data.array_names import usual_names
from tfloop_cli.engine.data.build_context import DATA, build_context
from tfloop_cli.engine.data.class_names import class_names as class_names_of
from tfloop_cli.engine.data.invalid_examples import skips_invalid_examples
from tfloop_cli.engine.data.spec import Dataset, DataSpec, InputSpec, Source
from tfloop_cli.engine.data.split_names import SPLIT_NAMES
from tfloop_cli.engine.data.structures import Structure
from tfloop_cli.registry import datasets
from tfloop_cli.registry.argument_types import OnResume

SPLIT = "{split}"
ROLES = {"inputs": ("x", "inputs"), "targets": ("y", "targets"), "sample_weight": ("w", "sample_weight")}
MAX_HASHED = 2**29  # bytes of the inputs of a split that the fingerprint depends on
SAMPLES = 64  # parts of a larger array that it depends on


@datasets.register("arrays")
def arrays(
    *,
    path: Annotated[Path, OnResume.CHANGES_REST],
    input: str | None = None,
    target: str | None = None,
    sample_weight: str | None = None,
    in_memory: Annotated[Literal["auto", "always", "never"], OnResume.FREE] = "auto",
) -> Dataset:
    """NumPy arrays of an .npz file, or of a folder of .npy files or of MNIST's idx files: `x_train`, `y_train`, ...

    Integers, booleans and words are classes for `task: classification`, and so are one-hot rows. The classes are the
    distinct targets of the training split, in order. `group` and `split_by` name an array, such as `patient` or
    `patient_train`.

    Args:
        path: the .npz file, or a folder with files such as x_train.npy.
        input: the name of the inputs, with {split} for `train`, `validation` and `test` (also `val`, `dev` ...);
            without {split} all are the training split. null: `x_{split}`, `inputs_{split}`, `x` or `inputs`, the first
            one with `train`; or as others call them, such as `X_train`, `train_images` or `data`.
        target: likewise the targets; null: `y_{split}`, `targets_{split}`, `y` or `targets`; or such as `labels`.
        sample_weight: likewise the weight of each example in the loss; null: `w_{split}`, `sample_weight_{split}`, `w`
            or `sample_weight`, if there is one.
        in_memory: whether to keep all inputs in memory, or to read them from the file when they are used, which a
            compressed file does not allow; auto: in memory if they need at most a quarter of the free memory.
    """
    document, other = build_context().encoders, build_context().data
    encoders = ArrayEncoders.from_json(document) if document else None
    found = find_arrays(other or path)
    names = {"inputs": input, "targets": target, "sample_weight": sample_weight}
    if other:
        splits = {DATA: _other_data(found, other, names)}
    else:
        splits = _splits(found, path, {role: name or _default(found, path, role) for role, name in names.items()})
        splits = build_context().needed(splits)
    _check_splits(splits, encoders)
    if encoders and other:
        note = f"{DATA}: {splits[DATA]['inputs']} and {splits[DATA]['targets']}"
        encoders = replace(encoders, notes=(*encoders.notes, note))
    return _dataset(splits, encoders, in_memory, _columns(found, splits), _notes(found, splits))


def _dataset(
    splits: dict[str, dict[str, StoredArray]],
    encoders: ArrayEncoders | None,
    in_memory: str,
    columns: dict[str, dict[str, np.ndarray]],
    notes: tuple[str, ...],
) -> Dataset:
    """Reads or maps the arrays of each split."""
    needed = sum(split["inputs"].bytes for split in splits.values())
    allowed = {"always": needed, "auto": psutil.virtual_memory().available // 4, "never": -1}[in_memory]
    if needed <= allowed:
        values = {name: split["inputs"].read() for name, split in splits.items()}
    else:
        values = {name: split["inputs"].map() for name, split in splits.items()}
    labels, class_names = _labels({name: split["targets"] for name, split in splits.items()}, encoders)
    weights = {name: [split["sample_weight"].read()] for name, split in splits.items() if "sample_weight" in split}
    others = {name: (labels[name], *weights.get(name, [])) for name in splits}
    digest = hashlib.sha256(fingerprint_of(others).encode())
    digest.update(f"{class_names} {[(name, fingerprint_of_large(one)) for name, one in values.items()]}".encode())
    # The rest is checked with the numbers of the rows in place of mapped inputs.
    rows = {name: one if needed <= allowed else np.arange(len(one)) for name, one in values.items()}
    dataset = from_arrays(
        {name: (rows[name], *others[name]) for name in splits},
        class_names=class_names,
        fingerprint=digest.hexdigest(),
        columns=columns,
        target_spec=encoders and encoders.target,
    )
    dataset = dataset if needed <= allowed else _mapped(dataset, values)
    spec = dataset.spec
    fitted = ArrayEncoders(
        spec.input_shape, spec.input_dtype, spec.target_shape, spec.class_names, spec.one_hot, bool(class_names),
        notes,
    )  # fmt: skip
    return replace(dataset, encoders=encoders or fitted)


def _notes(found: Mapping[str, StoredArray], splits: Mapping[str, Mapping[str, StoredArray]]) -> tuple[str, ...]:
    """Returns a note if the inputs are found by another name than the usual ones."""
    first = next(iter(splits.values()))
    if not usual_names({name: one for name, one in found.items() if name == one.name}):
        return ()
    return (f"inputs: {first['inputs']} (key `input`), targets: {first['targets']} (key `target`)",)


def _mapped(dataset: Dataset, values: Mapping[str, np.ndarray]) -> Dataset:
    """Returns a dataset whose inputs are rows of arrays that are mapped into memory.

    Args:
        dataset: its inputs are the numbers of the rows.
        values: inputs [rows, ...] of each split.
    """
    first = next(iter(values.values()))
    spec = DataSpec.of(InputSpec(first.shape[1:], str(first.dtype)), dataset.spec.targets)
    splits = {name: MappedSource(values[name], source) for name, source in dataset.splits.items()}
    return replace(dataset, spec=spec, splits=splits)


class MappedSource:
    """A split whose inputs are read from a file when they are used.

    Args:
        values: inputs [rows, ...].
        rows: the examples, with the numbers of their rows as inputs.
    """

    def __init__(self, values: np.ndarray, rows: Source) -> None:
        self._values, self._rows = values, rows
        self.all_targets = getattr(rows, "all_targets", None)

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, indices: tf.Tensor) -> tuple[Structure, ...]:
        """See `Source`."""
        rows, *others = self._rows.gather(indices)
        found = tf.numpy_function(lambda numbers: self._values[numbers], [rows], self._values.dtype)
        return (tf.ensure_shape(found, [indices.shape[0], *self._values.shape[1:]]), *others)


def _default(found: Mapping[str, StoredArray], path: Path, role: str, word: str = "train") -> str:
    """Returns the name of a role's arrays, with {split} if they are several; "" for no weights."""
    for name in _names(role):
        if name.replace(SPLIT, word) in found:
            return name
    if role == "sample_weight":
        return ""
    choose(found, path, f"{ROLES[role][0]}_{word}")  # raises the error
    raise AssertionError


def _names(role: str) -> tuple[str, ...]:
    """Returns the names of a role's arrays that are tried in this order."""
    first, second = ROLES[role]
    return f"{first}_{SPLIT}", f"{second}_{SPLIT}", first, second


def _other_data(
    found: Mapping[str, StoredArray], path: Path, configured: Mapping[str, str | None]
) -> dict[str, StoredArray]:
    """Returns role -> array of other data: the test split, else the first one that there is, else without a split."""
    inputs = [configured["inputs"]] if configured["inputs"] else _names("inputs")
    words = [word for split in ("test", "validation", "train") for word in SPLIT_NAMES[split]]
    word = next((word for word in words if any(name.replace(SPLIT, word) in found for name in inputs)), "test")
    names = {role: name or _default(found, path, role, word) for role, name in configured.items()}
    named = {role: name.replace(SPLIT, word) for role, name in names.items() if name}
    return {role: choose(found, path, name) for role, name in named.items() if role != "sample_weight" or name in found}


def _columns(
    found: Mapping[str, StoredArray], splits: Mapping[str, Mapping[str, StoredArray]]
) -> dict[str, dict[str, np.ndarray]]:
    """Returns the arrays that `group` and `split_by` name: NAME_{split}, or NAME of the training split."""
    columns: dict[str, dict[str, np.ndarray]] = {}
    for name in build_context().rules.columns:
        for split, words in SPLIT_NAMES.items():
            keys = [f"{name}_{word}" for word in words] + [name] * (split == "train")
            key = next((key for key in keys if key in found), None)
            if split in splits and key is not None:
                columns.setdefault(name, {})[split] = found[key].read()
    return {name: column for name, column in columns.items() if "train" in column or "train" not in splits}


def _splits(
    found: Mapping[str, StoredArray], path: Path, names: Mapping[str, str]
) -> dict[str, dict[str, StoredArray]]:
    """Returns role -> array for each split; raises TfloopError (exit code 4) if one is missing."""
    splits: dict[str, dict[str, StoredArray]] = {}
    for split, words in SPLIT_NAMES.items():
        word = next((one for one in words if names["inputs"].replace(SPLIT, one) in found), "")
        if split == "train":
            word = word or "train"
        elif not word or SPLIT not in names["inputs"]:
            continue
        chosen = {role: names[role].replace(SPLIT, word) for role in ROLES if names[role]}
        splits[split] = {
            role: choose(found, path, name)
            for role, name in chosen.items()
            if role != "sample_weight" or split == "train" or name in found
        }
    return splits


def _check_splits(splits: Mapping[str, Mapping[str, StoredArray]], encoders: ArrayEncoders | None) -> None:
    """Raises TfloopError (exit code 4) unless all splits are alike, and like those of the run."""
    first = next(iter(splits.values()))["inputs"]
    for split, roles in splits.items():
        _check(roles, first, split)
    if encoders:
        floats = first.dtype.kind == "f" and np.dtype(encoders.input_dtype).kind == "f"
        if first.shape[1:] != encoders.input_shape or not (floats or first.dtype == encoders.input_dtype):
            run = f"{encoders.input_dtype}{list(encoders.input_shape)}"
            first.refuse(f"its rows are {_row(first)}, and the run was trained on {run}")


def _check(roles: Mapping[str, StoredArray], first: StoredArray, split: str) -> None:
    """Raises TfloopError (exit code 4) unless the arrays of a split fit each other and the inputs of the first one."""
    inputs = roles["inputs"]
    for role, stored in roles.items():
        if not stored.shape:
            stored.refuse("it is a single value, not one row per example")
        if stored.shape[0] != inputs.shape[0]:
            stored.refuse(f"it has {stored.shape[0]:,} rows, and {inputs} has {inputs.shape[0]:,}")
        if stored.dtype.kind not in ("fiubUS" if role == "targets" else "fiub"):
            stored.refuse(f"its dtype is {stored.dtype}, and {role} must be numbers")
    if not inputs.shape[0]:
        inputs.refuse(f"split `{split}`: it is empty")
    if inputs.shape[1:] != first.shape[1:] or inputs.dtype != first.dtype:
        inputs.refuse(f"its rows are {_row(inputs)}, and those of {first} are {_row(first)}")


def _row(stored: StoredArray) -> str:
    return f"{stored.dtype}{list(stored.shape[1:])}"


def _labels(
    stored: Mapping[str, StoredArray], encoders: ArrayEncoders | None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns the targets of each split, classes as numbers from 0, and the names of the classes; () for others."""
    targets = {name: one.read() for name, one in stored.items()}
    first = next(iter(targets.values()))
    as_floats = {name: one.astype(np.float32) if one.dtype.kind in "iu" else one for name, one in targets.items()}
    if encoders and not encoders.numbered:
        return (targets if encoders.class_names else as_floats), ()
    if encoders:
        names = encoders.class_names
    elif first.ndim > 2 or (first.ndim == 2 and first.shape[1] != 1) or first.dtype.kind not in "iuUS":
        return targets, ()
    elif build_context().numbers and first.dtype.kind in "iu":
        return as_floats, ()
    else:
        names = class_names_of(_texts(np.unique(first)))
    return {name: _numbered(name, one, names, stored[name]) for name, one in targets.items()}, names


def _texts(values: np.ndarray) -> list[str]:
    """Returns classes as they are shown."""
    return [one.decode("utf-8", "backslashreplace") if isinstance(one, bytes) else str(one) for one in values.tolist()]


def _numbered(split: str, targets: np.ndarray, names: tuple[str, ...], stored: StoredArray) -> np.ndarray:
    """Returns the index of each target in the names, int32; -1, which is invalid, for one that is not among them."""
    if targets.dtype.kind not in "iuUS":
        stored.refuse(f"its dtype is {targets.dtype}, and the targets of training are whole numbers or words")
    values, positions = np.unique(targets, return_inverse=True)
    number_of = {name: number for number, name in enumerate(names)}
    numbers = np.array([number_of.get(text, -1) for text in _texts(values)], np.int32)[positions]
    numbers = numbers.reshape(targets.shape)
    if (numbers < 0).any() and not skips_invalid_examples():
        row = int(np.argmax((numbers < 0).reshape(len(targets), -1).any(axis=1)))
        label = _texts(targets[row : row + 1].reshape(-1))[0]
        stored.refuse(f"split `{split}`: the target of row {row} is `{label}`, which does not occur in training")
    return numbers


def fingerprint_of_large(array: np.ndarray) -> str:
    """Returns a sha256 of an array: of all values, or of evenly spaced ones if they are more than `MAX_HASHED`."""
    digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    if array.nbytes <= MAX_HASHED:
        digest.update(np.ascontiguousarray(array))
    else:
        rows = max(1, MAX_HASHED // SAMPLES // max(1, array[:1].nbytes))
        for start in np.linspace(0, max(0, len(array) - rows), SAMPLES).astype(int):
            digest.update(np.ascontiguousarray(array[start : start + rows]))
    return digest.hexdigest()
