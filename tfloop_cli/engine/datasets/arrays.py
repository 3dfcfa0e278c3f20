"""Arrays in .npz and .npy files."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, cast

import numpy as np
import psutil
import tensorflow as tf

from tfloop_cli.engine.data.array_dataset import fingerprint_of, from_arrays
from tfloop_cli.engine.data.array_encoders import ArrayEncoders
from tfloop_cli.engine.data.array_files import StoredArray, choose, find_arrays
from tfloop_cli.engine.data.array_names import usual_names
from tfloop_cli.engine.data.array_targets import labels_of
from tfloop_cli.engine.data.build_context import DATA, build_context
from tfloop_cli.engine.data.columns import unusable_column
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

    Integers, booleans and words are classes for `task: classification`, and so are one-hot rows. For `task: auto`, more
    than 20 distinct integers are classes only if they are 0 to n - 1 or 1 to n, with at least 5 rows each on average.
    The classes are the distinct targets of the training split, in order. `group` and `split_by` name an array, such as
    `patient` or `patient_train`.

    Args:
        path: the .npz file, or a folder with files such as x_train.npy.
        input: the name of the inputs, with {split} for `train`, `validation` and `test` (also `val`, `dev` ...);
            without {split} all are the training split. null: `x_{split}`, `inputs_{split}`, `x` or `inputs`, the first
            one with `train`; or as others call them, such as `X_train`, `train_images` or `data`.
        target: likewise the targets; null: `y_{split}`, `targets_{split}`, `y` or `targets`; or such as `labels`. Then
            a test or validation split without targets is not used.
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
        splits, notes = {DATA: _other_data(found, other, names)}, []
    else:
        chosen = {role: name or _default(found, path, role) for role, name in names.items()}
        splits, notes = _splits(found, path, chosen, labelled=target is not None)
        splits = build_context().needed(splits)
    _check_splits(splits, encoders)
    splits = {split: _at_training(split, roles) for split, roles in splits.items()}
    if encoders and other:
        notes = [f"{DATA}: {splits[DATA]['inputs']} and {splits[DATA]['targets']}"]
    dataset = _dataset(splits, encoders, in_memory, _columns(found, splits), _notes(found, splits))
    read = cast(ArrayEncoders, dataset.encoders)
    return replace(dataset, encoders=replace(read, notes=tuple(dict.fromkeys([*read.notes, *notes]))))


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
    labels, class_names, note = labels_of({name: split["targets"] for name, split in splits.items()}, encoders)
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
        (*notes, note) if note else notes,
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


def _at_training(split: str, roles: dict[str, StoredArray]) -> dict[str, StoredArray]:
    """Returns the arrays of a split without rows that were added after the training of the run; see `ReadFiles`."""
    read, inputs = build_context().files, roles["inputs"]
    read.choose(split, [inputs.name])
    [rows] = read.limit(split, [str(inputs)], [inputs.shape[0]])
    return {role: one.first(rows) for role, one in roles.items()}


def _columns(
    found: Mapping[str, StoredArray], splits: Mapping[str, Mapping[str, StoredArray]]
) -> dict[str, dict[str, np.ndarray]]:
    """Returns the arrays that `group` and `split_by` name: NAME_{split}, or NAME of the training split.

    Raises:
        TfloopError: the training split has no such array (exit code 2).
    """
    columns: dict[str, dict[str, np.ndarray]] = {}
    for name, config_key in build_context().rules.columns.items():
        for split, words in SPLIT_NAMES.items():
            keys = [f"{name}_{word}" for word in words] + [name] * (split == "train")
            key = next((key for key in keys if key in found), None)
            if split in splits and key is not None:
                rows = splits[split]["inputs"].shape[0] if build_context().files.trained else None
                columns.setdefault(name, {})[split] = found[key].read()[:rows]
        if "train" in splits and "train" not in columns.get(name, {}):
            usable = dict.fromkeys(one.removesuffix("_train") for one in found)
            problem = f"there is no array `{name}` or `{name}_train`"
            raise unusable_column(config_key, name, problem, usable, "the arrays are")
    return columns


def _splits(
    found: Mapping[str, StoredArray], path: Path, names: Mapping[str, str], *, labelled: bool
) -> tuple[dict[str, dict[str, StoredArray]], list[str]]:
    """Returns role -> array for each split, and notes; raises TfloopError (exit code 4) if an array is missing.

    Unless the targets must be `labelled`, since the config names them, a split other than `train` without targets is
    not used, with a note.
    """
    splits: dict[str, dict[str, StoredArray]] = {}
    notes = []
    for split, words in SPLIT_NAMES.items():
        word = next((one for one in words if names["inputs"].replace(SPLIT, one) in found), "")
        if split == "train":
            word = word or "train"
        elif not word or SPLIT not in names["inputs"]:
            continue
        chosen = {role: names[role].replace(SPLIT, word) for role in ROLES if names[role]}
        if split != "train" and not labelled and chosen["targets"] not in found:
            notes.append(f"not used: {found[chosen['inputs']]}, since there is no array `{chosen['targets']}`")
            continue
        splits[split] = {
            role: choose(found, path, name)
            for role, name in chosen.items()
            if role != "sample_weight" or split == "train" or name in found
        }
    return splits, notes


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
