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
from tfloop_cli.engine.data.array_files import StoredArray, choose, find_arrays
from tfloop_cli.engine.data.build_context import build_context
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
    """NumPy arrays of an .npz file, or of the .npy files in a folder: `x_train`, `y_train`, `x_test`, `y_test`.

    Integers, booleans and words are classes for `task: classification`, and so are one-hot rows. The classes are the
    distinct targets of the training split, in order.

    Args:
        path: the .npz file, or a folder with files such as x_train.npy.
        input: the name of the inputs, with {split} for `train`, `validation` and `test` (also `val`, `dev` ...);
            without {split} all are the training split. null: `x_{split}`, `inputs_{split}`, `x` or `inputs`, the first
            one with `train`.
        target: likewise the targets; null: `y_{split}`, `targets_{split}`, `y` or `targets`.
        sample_weight: likewise the weight of each example in the loss; null: `w_{split}`, `sample_weight_{split}`, `w`
            or `sample_weight`, if there is one.
        in_memory: whether to keep all inputs in memory, or to read them from the file when they are used, which a
            compressed file does not allow; auto: in memory if they need at most a quarter of the free memory.
    """
    found = find_arrays(path)
    names = {"inputs": input, "targets": target, "sample_weight": sample_weight}
    splits = _splits(found, path, {role: name or _default(found, path, role) for role, name in names.items()})
    needed = sum(split["inputs"].bytes for split in splits.values())
    allowed = {"always": needed, "auto": psutil.virtual_memory().available // 4, "never": -1}[in_memory]
    if needed <= allowed:
        values = {name: split["inputs"].read() for name, split in splits.items()}
    else:
        values = {name: split["inputs"].map() for name, split in splits.items()}
    labels, class_names = _labels({name: split["targets"] for name, split in splits.items()})
    weights = {name: [split["sample_weight"].read()] for name, split in splits.items() if "sample_weight" in split}
    others = {name: (labels[name], *weights.get(name, [])) for name in splits}
    digest = hashlib.sha256(fingerprint_of(others).encode())
    digest.update(f"{class_names} {[(name, fingerprint_of_large(one)) for name, one in values.items()]}".encode())
    # The rest is checked with the numbers of the rows in place of mapped inputs.
    rows = {name: one if needed <= allowed else np.arange(len(one)) for name, one in values.items()}
    arrays_of = {name: (rows[name], *others[name]) for name in splits}
    dataset = from_arrays(arrays_of, class_names=class_names, fingerprint=digest.hexdigest())
    return dataset if needed <= allowed else _mapped(dataset, values)


def _mapped(dataset: Dataset, values: Mapping[str, np.ndarray]) -> Dataset:
    """Returns a dataset whose inputs are rows of arrays that are mapped into memory.

    Args:
        dataset: its inputs are the numbers of the rows.
        values: inputs [rows, ...] of each split.
    """
    first = values["train"]
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


def _default(found: Mapping[str, StoredArray], path: Path, role: str) -> str:
    """Returns the name of a role's arrays, with {split} if they are several; "" for no weights."""
    first, second = ROLES[role]
    for name in (f"{first}_{SPLIT}", f"{second}_{SPLIT}", first, second):
        if name.replace(SPLIT, "train") in found:
            return name
    if role == "sample_weight":
        return ""
    choose(found, path, f"{first}_train")  # raises the error
    raise AssertionError


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
    for split, roles in splits.items():
        _check(roles, splits["train"]["inputs"], split)
    return splits


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


def _labels(stored: Mapping[str, StoredArray]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns the targets of each split, classes as numbers from 0, and the names of the classes; () for numbers."""
    targets = {name: one.read() for name, one in stored.items()}
    train = targets["train"]
    if train.ndim > 2 or (train.ndim == 2 and train.shape[1] != 1) or train.dtype.kind not in "iuUS":
        return targets, ()
    if build_context().targets == "numbers" and train.dtype.kind in "iu":
        return {name: one.astype(np.float32) for name, one in targets.items()}, ()
    names = np.unique(train)
    return {name: _numbered(name, one, names, stored[name]) for name, one in targets.items()}, tuple(
        name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name) for name in names
    )


def _numbered(split: str, targets: np.ndarray, names: np.ndarray, stored: StoredArray) -> np.ndarray:
    """Returns the index of each target in the names, int32; -1, which is invalid, for one that is not among them."""
    if targets.dtype.kind != names.dtype.kind and {targets.dtype.kind, names.dtype.kind} != {"i", "u"}:
        stored.refuse(f"it has dtype {targets.dtype}, and that of the training split is {names.dtype}")
    numbers = np.searchsorted(names, targets).clip(max=len(names) - 1).astype(np.int32)
    unknown = names[numbers] != targets
    if unknown.any() and not skips_invalid_examples():
        row = int(np.argmax(unknown.reshape(len(targets), -1).any(axis=1)))
        label = targets[row].flat[0] if targets.ndim > 1 else targets[row]
        stored.refuse(f"split `{split}`: the target of row {row} is `{label}`, which does not occur in training")
    numbers[unknown] = -1
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
