"""Features of TensorFlow Datasets (TFDS) that examples are held out by; see `Dataset.columns`."""

import hashlib
import json
import sys
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.cache import cached, open_cached
from tfloop_cli.engine.data.columns import unusable_column
from tfloop_cli.engine.data.invalid_examples import collect_invalid_examples, skips_invalid_examples
from tfloop_cli.engine.data.tfds_features import describe, named_features, partial_decoding
from tfloop_cli.engine.data.tfds_files import Split, stamps
from tfloop_cli.engine.data.tfds_records import Example, load


def choose_columns(info: tfds.core.DatasetInfo) -> dict[str, Example]:
    """Returns how to decode the features that `group` and `split_by` name, and nothing else of a record.

    Raises:
        TfloopError: there is no such feature, or it is not one number or text per example (exit code 2).
    """
    named = named_features(info)
    usable = {name: dtype for name, feature in named.items() if (dtype := _dtype(feature)) is not None}
    columns = {}
    for name, key in build_context().rules.columns.items():
        if name not in usable:
            problem = f"{info.full_name} has no feature `{name}`"
            if name in named:
                problem = (
                    f"the feature `{name}` ({describe(named[name])}) of {info.full_name} is not one number or text per "
                    "example"
                )
            raise unusable_column(key, name, problem, usable, "the features that can be used are")
        features, dtype = partial_decoding(info, (name,)), usable[name]
        columns[name] = Example(features, name, name, (), dtype, (), dtype, (), None)
    return columns


def read_columns(
    columns: Mapping[str, Example], split: Split, valid_indices: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Returns the values of each column that is needed of a split: int64, float64 or text as objects, [valid].

    Reading needs a pass over all records; the result is cached.

    Args:
        columns: see `choose_columns`.
        split: the split.
        valid_indices: the indices of the examples in the split, int64 [valid]; None for all.

    Raises:
        TfloopError: a file cannot be read, or a damaged record is not skipped (exit code 4).
    """
    # Times decide only what is held out of the training split. Groups are compared with those of the other splits.
    needed = columns if split.name == "train" or build_context().rules.group is not None else {}
    indices = slice(None) if valid_indices is None else valid_indices
    return {name: _values(split, example)[indices] for name, example in needed.items()}


def _dtype(feature: tfds.features.FeatureConnector) -> tf.DType | None:
    """Returns the dtype in which a feature is read; None unless it is a number or a text."""
    tensor = feature.get_tensor_info()
    if not isinstance(tensor, tfds.features.TensorInfo) or tuple(tensor.shape):
        return None
    dtype = tensor.tf_dtype
    if dtype.is_floating:
        return tf.float64
    return tf.int64 if dtype.is_integer or dtype.is_bool else tf.string if dtype == tf.string else None


def _values(split: Split, example: Example) -> np.ndarray:
    """Returns the value of each example of a split, [examples]; 0 or None for damaged records, which are skipped."""
    identity = (stamps(split), split.instruction, example.input, example.input_dtype.name)
    fingerprint = hashlib.sha256(repr(identity).encode()).hexdigest()
    if (rows := open_cached(fingerprint, "uint8")) is not None:
        values = json.loads(rows.array.tobytes())
    else:
        values = _read(split, example)
        content = np.frombuffer(json.dumps(values).encode(), np.uint8)  # with texts of any lengths
        about = f"`{example.input}` of {split.name} examples in {split.folder}"
        cached(fingerprint, about, content.shape, "uint8", lambda: iter([content]))
    return np.array(values, example.input_dtype.as_numpy_dtype)


def _read(split: Split, example: Example) -> list[int | float | str | None]:
    print(f"reading `{example.input}` of {split.examples:,} {split.name} examples", file=sys.stderr, flush=True)
    with collect_invalid_examples(skips_invalid_examples()):  # the pass over the examples counts the skipped ones
        values, _, indices = load(split, example)
    is_text = example.input_dtype == tf.string
    found: list[int | float | str | None] = [None if is_text else 0] * split.examples
    for index, value in zip(indices.tolist(), values.tolist(), strict=True):
        found[index] = value.decode("utf-8", "replace") if is_text else value
    return found
