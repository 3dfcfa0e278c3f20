"""Datasets of TensorFlow Datasets (TFDS): prepared in a folder, or downloaded and prepared."""

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import psutil
import tensorflow as tf
import tensorflow_datasets as tfds

from tfloop_cli.engine.data.array_dataset import from_arrays
from tfloop_cli.engine.data.columns import columns_of
from tfloop_cli.engine.data.invalid_examples import skips_invalid_examples
from tfloop_cli.engine.data.spec import Dataset
from tfloop_cli.engine.data.tfds_columns import choose_columns, read_columns
from tfloop_cli.engine.data.tfds_features import describe, find_splits, named_features, overlaps, partial_decoding
from tfloop_cli.engine.data.tfds_files import ARRAY_RECORD, Split
from tfloop_cli.engine.data.tfds_prepare import open_builder
from tfloop_cli.engine.data.tfds_records import Example, is_unlabelled, load, valid_example_indices
from tfloop_cli.engine.data.tfds_source import RecordSource
from tfloop_cli.engine.data.tfds_texts import read_texts
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import datasets
from tfloop_cli.registry.argument_types import OnResume, PositiveInt


@datasets.register("tfds")
def tfds_dataset(
    *,
    builder: str,
    data_dir: Annotated[Path | None, OnResume.CHANGES_REST] = None,
    input: str | None = None,
    target: str | None = None,
    size: tuple[PositiveInt, PositiveInt] | None = None,
    splits: list[str] | dict[str, str] | None = None,
    features: Literal["ngrams", "ids"] = "ngrams",
    in_memory: Annotated[Literal["auto", "always", "never"], OnResume.FREE] = "auto",
) -> Dataset:
    """Any dataset of TensorFlow Datasets (TFDS): inputs are images, numbers or texts, targets are classes or numbers.

    A dataset that is not prepared yet is downloaded and prepared first. Examples in memory and examples read by random
    access are decoded by the same operations, so training results are bitwise identical. `group` and `split_by` name a
    feature with one number or text per example, such as `review.stars`.

    Args:
        builder: the name in TFDS: `cifar10`, `glue/cola`, `mnist:3.0.1`.
        data_dir: the folder that contains the dataset's folder; null: `TFDS_DATA_DIR`, or ~/tensorflow_datasets.
        input: the feature to use as the model's input, `a.b` for one within another; null: the one that the dataset
            declares.
        target: the feature to predict; null: the one that the dataset declares.
        size: height and width to which all images are resized; null: no resizing, and all must have one shape.
        splits: the splits to read, with slices such as `train[:80%]`; a mapping gives them names: `{train:
            "train[:80%]", test: "train[80%:]"}`. null: all; one whose labels are all -1 is not used.
        features: of texts, which are kept in memory: `ngrams` or `ids`; see the dataset `text`.
        in_memory: whether to keep all examples in memory instead of reading them by random access; auto: if they need
            at most a quarter of the free memory.
    """
    tfds_builder = open_builder(builder, str(data_dir) if data_dir else None, random_access=in_memory == "never")
    info = tfds_builder.info
    chosen = find_splits(info, splits)
    for (one, other), count in overlaps(chosen).items():
        text = f"warning: the splits `{one}` and `{other}` of {info.full_name} have {count:,} examples in common"
        print(text, file=sys.stderr, flush=True)
    example, columns = _choose_example(info, input, target, size), choose_columns(info)
    if splits is None:
        chosen = _without_unlabelled(info, chosen, example)
    if example.input_dtype == tf.string:
        return read_texts(chosen, example, features, _fingerprint(info, chosen, example), columns)
    resolved = example.with_shape_of(next(iter(chosen.values())))
    fingerprint = _fingerprint(info, chosen, example)
    needed = sum(split.examples for split in chosen.values()) * resolved.bytes
    allowed = {"always": needed, "auto": _free_memory() // 4, "never": -1}[in_memory]
    if needed <= allowed:
        return _in_memory(chosen, resolved, fingerprint, columns)
    _check_random_access(info, example, needed, in_memory)
    skip = skips_invalid_examples()
    valid_indices = {name: valid_example_indices(split, example) for name, split in chosen.items()} if skip else {}
    return Dataset(
        spec=example.spec,
        splits={name: RecordSource(split, example, valid_indices.get(name)) for name, split in chosen.items()},
        fingerprint=_with_skipped(fingerprint, chosen, valid_indices),
        columns=columns_of(
            {name: read_columns(columns, split, valid_indices.get(name)) for name, split in chosen.items()}
        ),
    )


def _in_memory(
    splits: Mapping[str, Split], example: Example, fingerprint: str, columns: Mapping[str, Example]
) -> Dataset:
    """Reads all examples."""
    loaded = {name: load(split, example) for name, split in splits.items()}
    valid_indices = {name: indices for name, (*_, indices) in loaded.items()}
    return from_arrays(
        {name: (inputs, targets) for name, (inputs, targets, _) in loaded.items()},
        class_names=example.class_names,
        fingerprint=_with_skipped(fingerprint, splits, valid_indices),
        columns=columns_of({name: read_columns(columns, splits[name], rows) for name, rows in valid_indices.items()}),
    )


def _without_unlabelled(info: tfds.core.DatasetInfo, splits: Mapping[str, Split], example: Example) -> dict[str, Split]:
    """Returns the splits with labels; prints the names of the others."""
    labelled = {name: one for name, one in splits.items() if name == "train" or not is_unlabelled(one, example)}
    for name in splits.keys() - labelled.keys():
        text = (
            f"note: the split `{name}` of {info.full_name} is not used: its labels are -1, which means that it has none"
        )
        print(text, file=sys.stderr, flush=True)
    return labelled


def _choose_example(
    info: tfds.core.DatasetInfo, input: str | None, target: str | None, size: tuple[int, int] | None
) -> Example:
    """Returns how to decode the input and the target: the configured features, or the dataset's `supervised_keys`.

    Raises:
        TfloopError: a feature is not configured or missing, or `size` is set and the input is not an image (exit
            code 2); a feature is not an image, a class or a numeric array of fixed shape (4).
    """
    input_name, target_name = _feature_names(info, input, target)
    named = named_features(info)
    shape, dtype = _shape_and_dtype(info, input_name, named[input_name], texts=True)
    if size:
        if not isinstance(named[input_name], tfds.features.Image):
            raise TfloopError(
                f"{info.full_name}: `dataset.size` requires images, and the feature `{input_name}` is not an image",
                hint="remove `dataset.size`",
            )
        shape = (*size, shape[2])
    if None in shape and not isinstance(named[input_name], tfds.features.Image):
        raise _unsupported(info, input_name)
    lengths, target_dtype = _shape_and_dtype(info, target_name, named[target_name])
    target_shape = tuple(length for length in lengths if length is not None)
    if len(target_shape) < len(lengths):
        raise _unsupported(info, target_name)
    label = named[target_name]
    classes = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) and label.num_classes else ()
    return Example(
        features=partial_decoding(info, (input_name, target_name)),
        input=input_name,
        target=target_name,
        input_shape=shape,
        input_dtype=dtype if dtype in (tf.uint8, tf.float64, tf.string) else tf.float32,
        target_shape=target_shape,
        target_dtype=tf.int32 if classes else tf.float64 if target_dtype == tf.float64 else tf.float32,
        class_names=classes,
        size=(size[0], size[1]) if size else None,  # a list in the config
    )


def _feature_names(info: tfds.core.DatasetInfo, input: str | None, target: str | None) -> tuple[str, str]:
    """Returns the names of the input and the target feature."""
    match info.supervised_keys:
        case (str(default_input), str(default_target)):
            names = (input or default_input, target or default_target)
        case _:  # none, nested ones, or three with a sample weight, which is not supported
            names = (input, target)
    named = named_features(info)
    available = ", ".join(f"`{name}` ({describe(feature)})" for name, feature in named.items())
    for role, name in zip(("input", "target"), names, strict=True):
        hint = f"set `dataset.{role}` to one of: {available}"
        if name is None:
            raise TfloopError(f"{info.full_name} does not declare which feature is the {role}", hint=hint)
        if name not in named:
            raise TfloopError(f"{info.full_name} has no feature `{name}` to use as the {role}", hint=hint)
    return names


def _shape_and_dtype(
    info: tfds.core.DatasetInfo, name: str, feature: Any, *, texts: bool = False
) -> tuple[tuple[int | None, ...], tf.DType]:
    """Returns shape and dtype of a feature; raises TfloopError (exit code 4) if it is not numeric, or not a text."""
    tensor = feature.get_tensor_info()
    if not isinstance(tensor, tfds.features.TensorInfo):
        raise _unsupported(info, name)
    dtype = tensor.tf_dtype
    if not (
        dtype.is_floating or dtype.is_integer or dtype.is_bool or (texts and isinstance(feature, tfds.features.Text))
    ):
        raise _unsupported(info, name)
    return tuple(tensor.shape), dtype


def _unsupported(info: tfds.core.DatasetInfo, name: str) -> TfloopError:
    return TfloopError(
        f"{info.full_name}: the feature `{name}` ({describe(named_features(info)[name])}) is not supported",
        hint="supported: images, texts as input, classes, and numeric arrays of fixed shape",
        code=ExitCode.DATA,
    )


def _check_random_access(info: tfds.core.DatasetInfo, example: Example, needed: int, in_memory: str) -> None:
    """Raises TfloopError (exit code 4) if the examples, which are not kept in memory, have no random access.

    Args:
        info: of the dataset.
        example: how a record is decoded.
        needed: bytes of all examples in memory.
        in_memory: the setting that does not allow that many.
    """
    limit = f"all examples need {needed / 2**20:,.0f} MiB, more than `in_memory: {in_memory}` allows"
    if info.file_format is not ARRAY_RECORD:
        name = info.full_name.rpartition("/")[0]
        raise TfloopError(
            f"{info.full_name}: {info.file_format.value} files have no random access, and {limit}",
            hint="use `--set dataset.in_memory=always`, or prepare the dataset as array_record in another folder "
            "(`--set dataset.in_memory=never --set dataset.data_dir=FOLDER`, or in Python "
            f"`tfds.builder('{name}', data_dir='FOLDER').download_and_prepare(file_format='array_record')`)",
            code=ExitCode.DATA,
        )
    if None in example.input_shape:
        raise TfloopError(
            f"{info.full_name}: the images `{example.input}` have no fixed shape, which random access requires, and "
            f"{limit}",
            hint="resize all images with `--set dataset.size=[HEIGHT,WIDTH]`",
            code=ExitCode.DATA,
        )


def _free_memory() -> int:
    """Returns the free memory in bytes."""
    return psutil.virtual_memory().available


def _fingerprint(info: tfds.core.DatasetInfo, splits: Mapping[str, Split], example: Example) -> str:
    """Returns a sha256 that identifies the examples; independent of the file format, the folder and `in_memory`."""
    sizes: list[tuple[Any, ...]] = []
    for name, split in sorted(splits.items()):
        whole = name == split.instruction
        sizes.append((name, split.examples, info.splits[name].num_bytes if whole else split.instruction))
    identity = (info.full_name, sizes, example.input, example.target, example.size, example.class_names)
    return hashlib.sha256(repr(identity).encode()).hexdigest()


def _with_skipped(fingerprint: str, splits: Mapping[str, Split], valid_indices: Mapping[str, np.ndarray]) -> str:
    """Returns the fingerprint of the valid examples; `fingerprint` itself if none are skipped."""
    digest = hashlib.sha256(fingerprint.encode())
    reduced = {name: indices for name, indices in valid_indices.items() if len(indices) < splits[name].examples}
    for name, indices in sorted(reduced.items()):
        digest.update(f"{name} {indices.tolist()}".encode())
    return digest.hexdigest() if reduced else fingerprint
