"""Features and splits of a dataset of TensorFlow Datasets (TFDS), by the names that a config has for them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from tfloop_cli.engine.data.tfds_files import Split
from tfloop_cli.errors import ExitCode, TfloopError


def named_features(info: tfds.core.DatasetInfo) -> dict[str, Any]:
    """Returns all features by name; those of nested features have dotted names."""
    return dict(_named(info.features, ""))


def _named(features: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, feature in features.items():
        if isinstance(feature, tfds.features.FeaturesDict):
            yield from _named(feature, f"{prefix}{name}.")
        else:
            yield prefix + name, feature


def partial_decoding(info: tfds.core.DatasetInfo, names: Sequence[str]) -> tfds.features.FeaturesDict:
    """Returns the features with these names, nested as in the dataset; only they are decoded."""
    wanted: dict[str, Any] = {}
    for name in names:
        parts = [name] if name in info.features else name.split(".")
        inside = wanted
        for part in parts[:-1]:
            inside = inside.setdefault(part, {})
        inside[parts[-1]] = True
    return tfds.decode.PartialDecoding(wanted).extract_features(info.features)


def describe(feature: Any) -> str:
    """Returns type, dtype and shape of a feature for messages: "Image uint8[28, 28, 1]"."""
    tensor, kind = feature.get_tensor_info(), type(feature).__name__
    if not isinstance(tensor, tfds.features.TensorInfo) or tensor.tf_dtype == tf.string:
        return kind
    shape = ", ".join("?" if length is None else str(length) for length in tensor.shape)
    return f"{kind} {tensor.tf_dtype.name}[{shape}]" if shape else f"{kind} {tensor.tf_dtype.name}"


def find_splits(info: tfds.core.DatasetInfo, wanted: Sequence[str] | Mapping[str, str] | None) -> dict[str, Split]:
    """Returns the splits to read.

    Args:
        info: of the dataset.
        wanted: names or slices in TFDS, such as `train[:80%]`, whose name is that of the split; a mapping gives other
            names; None: all splits.

    Raises:
        TfloopError: a split does not exist, or two have one name (exit code 2); a split is empty, or no split is
            selected (4).
    """
    named = list(wanted.items()) if isinstance(wanted, Mapping) else None
    if named is None:
        named = [
            (re.split(r"[\[+]", split)[0].strip(), split) for split in (list(info.splits) if wanted is None else wanted)
        ]
    found: dict[str, Split] = {}
    for name, split in named:
        if name in found:
            raise TfloopError(
                f"{info.full_name}: two splits are called `{name}`",
                hint=f"name them: `splits: {{train: '{found[name].instruction}', test: '{split}'}}`",
            )
        found[name] = _find_split(info, name, split)
    if not found:
        raise TfloopError(f"{info.full_name}: there are no splits to read", code=ExitCode.DATA)
    return found


def overlaps(splits: Mapping[str, Split]) -> dict[tuple[str, str], int]:
    """Returns how many examples two splits have in common, for those that have some, such as two slices."""
    found: dict[tuple[str, str], int] = {}
    for (name, one), (other_name, other) in combinations(splits.items(), 2):
        pairs = product(one.files, other.files)
        common = sum(
            max(0, min(a.skip + a.take, b.skip + b.take) - max(a.skip, b.skip))
            for a, b in pairs
            if a.filename == b.filename
        )
        if common:
            found[name, other_name] = common
    return found


def _find_split(info: tfds.core.DatasetInfo, name: str, split: str) -> Split:
    try:
        chosen = info.splits[split]
    except (KeyError, ValueError, AssertionError) as error:
        hint = f"available: {', '.join(info.splits)}, and slices such as `train[:80%]`"
        raise TfloopError(f"{info.full_name} has no split `{split}`", hint=hint) from error
    if not chosen.num_examples:
        raise TfloopError(f"{info.full_name}: the split `{split}` is empty", code=ExitCode.DATA)
    return Split(name, chosen.file_instructions, info.file_format, split)
