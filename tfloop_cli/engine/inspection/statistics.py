"""Sizes, class balance, means and deviations."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import tensorflow as tf

from tfloop_cli.data_summary import InputSummary, SplitSummary
from tfloop_cli.engine.data import Data, InputSpec
from tfloop_cli.engine.data.structures import is_several, named_values
from tfloop_cli.engine.inspection.scanning import Scan, blocks, example_bytes

SPLIT_ORDER = ("train", "validation", "test")
MAX_EXAMPLES = 10_000  # of the training split, spread evenly, from which means and deviations are computed
MAX_READ_BYTES = 2**29  # of these examples


def ordered(splits: list[str]) -> list[str]:
    """Returns the names of splits: train, validation, test, others."""
    return sorted(splits, key=lambda name: (SPLIT_ORDER.index(name) if name in SPLIT_ORDER else 3, name))


def class_counts(data: Data, targets: object) -> np.ndarray | None:
    """Returns the number of examples of each class, int64 [classes]; None without one class per example."""
    spec = data.spec.targets
    if targets is None or is_several(spec) or not spec.classes or not (spec.one_hot or spec.shape in ((), (1,))):
        return None
    return np.bincount(spec.labels_of(tf.constant(targets)).numpy(), minlength=spec.classes)


def split_summary(data: Data, split: str, found: Scan) -> SplitSummary:
    """Returns what is shown of a split."""
    counts = class_counts(data, found.targets)
    named = None if counts is None else dict(zip(data.spec.class_names, counts.tolist(), strict=True))
    return SplitSummary(split, data.examples(split), named, _target_statistics(data, found), found.repeated)


def _target_statistics(data: Data, found: Scan) -> Mapping[str, list[float]] | None:
    if is_several(data.spec.targets) or data.spec.classes or found.targets is None:
        return None
    numbers = np.asarray(found.targets, np.float64).reshape(len(found.targets), -1)
    functions = {"mean": np.mean, "deviation": np.std, "minimum": np.min, "maximum": np.max}
    return {name: function(numbers, axis=0).tolist() for name, function in functions.items()}


def input_summaries(data: Data, scale_uint8: bool | Literal["auto"]) -> tuple[InputSummary, ...]:
    """Returns what is shown of each input; see `InputSummary`."""
    specs = named_values(data.spec.inputs)
    count = max(1, min(MAX_EXAMPLES, MAX_READ_BYTES // max(example_bytes(data.spec), 1)))
    moments: dict[str, list[np.ndarray]] = {name: [] for name, _ in specs}
    for found, _ in blocks(data, "train", count):
        inputs = data.spec.model_inputs(found, "float32", scale_uint8)
        for (name, spec), (_, values) in zip(specs, named_values(inputs), strict=True):
            if values.dtype.is_floating and not data.spec.vocabulary and not data.spec.columns:
                moments[name].append(_moments(values.numpy(), spec))
    return tuple(_input_summary(name, spec, moments[name]) for name, spec in specs)


def _moments(values: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Returns count, sum and sum of squares: float64 [3, channels] of images, else [3, 1]."""
    channels = values.shape[-1] if spec.is_image and len(spec.shape) > 2 else 1
    sums = values.sum(axis=0, dtype=np.float64), np.einsum("i...,i...->...", values, values, dtype=np.float64)
    count = np.full(channels, values.size // channels)
    return np.stack([count, *(one.reshape(-1, channels).sum(axis=0) for one in sums)])


def _input_summary(name: str, spec: InputSpec, moments: list[np.ndarray]) -> InputSummary:
    if not moments:
        return InputSummary(name, spec.shape, spec.dtype)
    count, total, squares = np.sum(moments, axis=0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
    return InputSummary(name, spec.shape, spec.dtype, tuple(mean.tolist()), tuple(deviation.tolist()))
