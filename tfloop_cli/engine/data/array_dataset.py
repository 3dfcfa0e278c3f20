"""Datasets of arrays in memory."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.array_source import Arrays, ArraySource
from tfloop_cli.engine.data.columns import as_columns, with_rows
from tfloop_cli.engine.data.invalid_examples import require_valid_examples, skip_example, skips_invalid_examples
from tfloop_cli.engine.data.spec import Dataset, DataSpec, InputSpec, TargetSpec
from tfloop_cli.engine.data.structures import Structure, is_several, map_structure, named_values, names_of
from tfloop_cli.errors import ExitCode, TfloopError


def from_arrays(
    splits: Mapping[str, Sequence[Any]],
    *,
    class_names: Sequence[Any] | Mapping[str, Sequence[str]] = (),
    fingerprint: str = "",
    columns: Mapping[str, Mapping[str, Any]] | None = None,
    target_spec: Structure | None = None,
) -> Dataset:
    """Returns a dataset of arrays in memory.

    Args:
        splits: name of a split -> (inputs, targets) or (inputs, targets, sample_weight), as arrays or lists.
            inputs [examples, ...]: several as a dict of arrays by name, or as a tuple or list of arrays.
            targets [examples, ...]: several likewise. Integers and booleans are classes, and so are targets of any
                dtype if each is one-hot: [examples, classes].
            sample_weight [examples]: the weight of each example in the loss. A split may have none.
        class_names: names of the classes; by default their numbers, up to the largest label of the first split. For
            several targets a dict by name, or one list per target.
        fingerprint: see `Dataset`; by default computed from the arrays.
        columns: for the config keys `group` and `split_by`: name of a column -> name of a split -> one value per
            example, such as {"patient": {"train": [7, 7, 9]}}; see `Dataset`.
        target_spec: what the targets are; by default the first split and `class_names` decide.

    Raises:
        TfloopError: there are no splits, an array is not numeric, arrays of a split differ in length, splits differ in
            names, shape or dtype, a split is empty, a column does not have one value per example, or labels are out of
            range and invalid examples are not skipped (exit code 4).
    """
    if not splits:
        raise TfloopError("there is no split: a dict of arrays has `train`, at least", code=ExitCode.DATA)
    arrays = {name: _arrays_of(name, split) for name, split in splits.items()}
    first = next(iter(arrays.values()))
    for name, split in arrays.items():
        _check_split(name, split, first)
    inputs, targets = first[:2]
    if target_spec is None:
        target_spec = map_structure(_target_spec, targets, _names_by_target(targets, class_names))
    spec = DataSpec.of(map_structure(lambda array: InputSpec(array.shape[1:], str(array.dtype)), inputs), target_spec)
    sizes = {name: len(named_values(split[0])[0][1]) for name, split in arrays.items()}
    by_column = as_columns(columns or {}, sizes)
    for name, split in arrays.items():
        if (valid := _in_range(name, split, spec)) is not None:
            arrays[name] = tuple(map_structure(lambda array: array[valid], structure) for structure in split)
            by_column = with_rows(by_column, name, valid)
    return Dataset(
        spec=spec,
        splits={name: ArraySource(*split) for name, split in arrays.items()},
        fingerprint=fingerprint or fingerprint_of(arrays),
        columns=by_column,
    )


def fingerprint_of(splits: Mapping[str, Arrays]) -> str:
    """Returns the sha256 over names, dtypes, shapes and bytes of all arrays."""
    digest = hashlib.sha256()
    for split, structures in sorted(splits.items()):
        for structure in structures:
            for name, array in sorted(named_values(structure), key=lambda named: named[0]):
                digest.update(f"{split} {f'{name} ' if name else ''}{array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _arrays_of(split: str, values: Sequence[Any]) -> Arrays:
    """Returns the arrays of a split, several as a dict or a tuple."""
    if not isinstance(values, tuple | list) or len(values) not in (2, 3):
        _refuse(split, "it is not (inputs, targets) or (inputs, targets, sample_weight)")
    inputs, targets, *weights = values
    rows = _possible_rows(inputs) & _possible_rows(targets)
    structures = []
    for role, value in (("input", inputs), ("target", targets)):
        if isinstance(value, Mapping) and not (value and all(isinstance(name, str) for name in value)):
            _refuse(split, f"its {role}s are a dict whose keys are not names")
        if isinstance(value, list | tuple):
            value = tuple(value) if _means_several(value, rows) else list(value)
        arrays = [_array(split, label, one) for label, one in _labelled(role, value)]
        structures.append(_with_values(value, arrays))
    weights = [_array(split, "sample_weight", one) for one in weights if one is not None]
    return (*structures, *(one[:, 0] if one.shape[1:] == (1,) else one for one in weights))


def _with_values(structure: Structure, values: Sequence[Any]) -> Structure:
    """Returns the values, in the order of `named_values`, in a structure."""
    following = iter(values)
    return map_structure(lambda _: next(following), structure)


def _labelled(role: str, structure: Structure) -> list[tuple[str, Any]]:
    """Returns each array of a structure with what messages call it."""
    number = "{} `{}`" if isinstance(structure, Mapping) else "{} {}"
    return [(number.format(role, name) if name else f"{role}s", value) for name, value in named_values(structure)]


def _possible_rows(value: Any) -> set[int]:
    """Returns the numbers of examples that a value may have: a list of arrays is one array, or several."""
    if isinstance(value, Mapping):
        return {_rows(one) for one in value.values()}
    return {len(value), _rows(value[0])} if _has_arrays(value) else {_rows(value)}


def _means_several(value: Sequence[Any], rows: set[int]) -> bool:
    """Whether a list or tuple is several arrays with `rows` rows each, and not one array with a row per value."""
    if not _has_arrays(value):
        return False
    one, several = len(value), _rows(value[0])
    return one not in rows or (several in rows and (several > one or isinstance(value, tuple)))


def _has_arrays(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(len(getattr(one, "shape", ())) > 0 for one in value)


def _rows(value: Any) -> int:
    shape = getattr(value, "shape", None)
    if shape is None:
        return len(value) if isinstance(value, Sized) else 0
    return shape[0] if len(shape) else 0


def _array(split: str, label: str, values: Any) -> np.ndarray:
    """Returns an array; lists of numbers become int64 or float32."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        _refuse(split, f"its {_are(label)} no array: {error}", error)
    if not _is_numeric(array):
        _refuse(split, f"its {_have(label)} dtype {array.dtype}, which is not numeric")
    if not array.ndim:
        _refuse(split, f"its {_are(label)} a number, not one row per example")
    return array.astype(np.float32) if isinstance(values, list | tuple) and array.dtype == np.float64 else array


def _names_by_target(targets: Structure, class_names: Sequence[Any] | Mapping[str, Sequence[str]]) -> Structure:
    """Returns the names of each target's classes in the structure of the targets; () for none."""
    if not is_several(targets):
        return class_names
    names = [name for name, _ in named_values(targets)]
    if not isinstance(class_names, Mapping):
        if class_names and (len(class_names) != len(names) or any(isinstance(one, str) for one in class_names)):
            raise TfloopError(
                "`class_names` has to be a dict: several targets have several lists of names",
                hint=f"write `class_names={{{names[0]!r}: [...]}}`",
                code=ExitCode.DATA,
            )
        class_names = dict(zip(names, class_names, strict=False))
    if unknown := sorted(set(class_names) - set(names)):
        raise TfloopError(
            f"`class_names` has `{unknown[0]}`, and the targets are {names_of(targets)}", code=ExitCode.DATA
        )
    return _with_values(targets, [class_names.get(name, ()) for name in names])


def _target_spec(targets: np.ndarray, class_names: Sequence[str]) -> TargetSpec:
    one_hot = _is_one_hot(targets) and len(class_names) in (0, *targets.shape[1:])
    if one_hot and not class_names:
        class_names = [str(label) for label in range(targets.shape[1])]
    elif targets.dtype == np.bool_ and targets.shape[1:] in ((), (1,)) and not class_names:
        class_names = ["false", "true"]
    elif np.issubdtype(targets.dtype, np.integer) and not class_names:
        class_names = [str(label) for label in range(int(targets.max(initial=0)) + 1)]
    return TargetSpec(targets.shape[1:], tuple(class_names), one_hot)


def _is_one_hot(targets: np.ndarray) -> bool:
    """Whether each row has one 1 and otherwise 0: [examples, classes] of two classes and more."""
    if targets.ndim != 2 or targets.shape[1] < 2 or not len(targets):
        return False
    return not _not_one_hot(targets).any()


def _not_one_hot(targets: np.ndarray) -> np.ndarray:
    """Returns which rows are not one-hot: bool [examples]."""
    ones = targets == 1
    return (ones.sum(axis=1) != 1) | ~(ones | (targets == 0)).all(axis=1)


def _check_split(name: str, arrays: Arrays, first: Arrays) -> None:
    """Checks that the arrays of a split have equal lengths, and are like those of the first split."""
    all_labelled = []
    for role, structure, expected in zip(("input", "target"), arrays, first, strict=False):
        if type(structure) is not type(expected) or names_of(structure) != names_of(expected):
            found, needed = (names_of(one) if is_several(one) else "one array" for one in (structure, expected))
            _refuse(name, f"its {role}s are {found}, not {needed} as in the first split")
        all_labelled += _labelled(role, structure)
        for (label, array), (_, like) in zip(_labelled(role, structure), _labelled(role, expected), strict=True):
            for what, value, other in (("dtype", array.dtype, like.dtype), ("shape", array.shape[1:], like.shape[1:])):
                if value != other:
                    _refuse(name, f"its {_have(label)} {what} {value}, not {other} as in the first split")
    all_labelled += [("sample_weight", weights) for weights in arrays[2:]]
    (first_label, first_array), *others = all_labelled
    for label, array in others:
        if len(array) != len(first_array):
            _refuse(name, f"its {_have(first_label)} {len(first_array)} rows, but its {_have(label)} {len(array)}")
    if not len(first_array):
        _refuse(name, "it is empty")
    if len(arrays) > 2 and arrays[2].ndim != 1:
        _refuse(name, f"its sample_weight has shape {arrays[2].shape}, not one number per example")


def _is_numeric(array: np.ndarray) -> bool:
    try:
        dtype = tf.as_dtype(array.dtype)
    except TypeError:
        return False
    return dtype.is_floating or dtype.is_integer or dtype.is_bool


def _in_range(split: str, arrays: Arrays, spec: DataSpec) -> np.ndarray | None:
    """Returns the numbers of the examples whose labels are among the classes, int64 [valid]; None for all.

    The others are invalid.
    """
    skip = skips_invalid_examples()  # called first: arrays always support skipping
    reasons: dict[int, str] = {}  # number of an invalid example -> what is wrong with it
    for (name, one), (_, targets) in zip(named_values(spec.targets), named_values(arrays[1]), strict=True):
        for number, reason in _wrong_labels(targets, one):
            reasons.setdefault(number, f"{reason} (target `{name}`)" if name else reason)
    for _, reason in sorted(reasons.items()):
        skip_example(split, TfloopError(f"dataset split `{split}`: {reason}", code=ExitCode.DATA))
    examples = len(named_values(arrays[1])[0][1])
    require_valid_examples(split, examples - len(reasons))
    if not (skip and reasons):
        return None
    return np.delete(np.arange(examples), list(reasons))


def _wrong_labels(targets: np.ndarray, spec: TargetSpec) -> Iterator[tuple[int, str]]:
    """Yields the number of each example whose target is not one of the classes, and the reason."""
    if not spec.classes:
        return
    if spec.one_hot:
        wrong = _not_one_hot(targets)[:, None]
    else:
        wrong = (targets < 0) | (targets >= spec.classes) | (targets != targets.astype(np.int64))
    for number in np.flatnonzero(wrong.reshape(len(targets), -1).any(axis=1)).tolist():
        if spec.one_hot:
            yield number, f"the target of example {number} is not one-hot, as those of the first split are"
        else:
            label = targets[number][wrong[number]].flat[0]
            yield number, f"example {number} has label {label}, which is not in 0 to {spec.classes - 1}"


def _have(label: str) -> str:
    return f"{label} {'have' if label.endswith('s') else 'has'}"


def _are(label: str) -> str:
    return f"{label} {'are' if label.endswith('s') else 'is'}"


def _refuse(split: str, problem: str, cause: Exception | None = None) -> NoReturn:
    raise TfloopError(f"dataset split `{split}`: {problem}", code=ExitCode.DATA) from cause
