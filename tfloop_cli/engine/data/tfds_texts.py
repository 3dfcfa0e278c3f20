"""Texts of TensorFlow Datasets (TFDS), as token ids or n-grams in memory."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.choosing import Candidates, training_rows
from tfloop_cli.engine.data.columns import columns_of
from tfloop_cli.engine.data.spec import Dataset
from tfloop_cli.engine.data.tables.encoders import TargetEncoder
from tfloop_cli.engine.data.text_source import Arrays, text_dataset
from tfloop_cli.engine.data.texts.encoders import Features, TextEncoders
from tfloop_cli.engine.data.tfds_columns import read_columns
from tfloop_cli.engine.data.tfds_files import Split
from tfloop_cli.engine.data.tfds_records import Example, load
from tfloop_cli.errors import ExitCode, TfloopError

VOCABULARY, MAX_TOKENS = 20_000, 400  # the defaults of the dataset `text`


def read_texts(
    splits: Mapping[str, Split], example: Example, features: Features, identity: str, columns: Mapping[str, Example]
) -> Dataset:
    """Returns the dataset of splits whose inputs are texts.

    Args:
        splits: by name.
        example: how a record is decoded.
        features: see the dataset `text`.
        identity: of the dataset in TFDS.
        columns: see `choose_columns`.

    Raises:
        TfloopError: a file cannot be read, there are several texts per example, or there is no split `train` (exit code
            4).
    """
    if example.input_shape:
        problem = f"the feature `{example.input}` has several texts per example"
        raise TfloopError(problem, hint="set `dataset.input` to a feature with one text", code=ExitCode.DATA)
    encoders = TextEncoders.from_json(found) if (found := build_context().encoders) else None
    arrays: dict[str, Arrays] = {}
    found_columns: dict[str, dict[str, np.ndarray]] = {}
    for name in sorted(splits, key=lambda name: name != "train"):  # the encoders are those of the training split
        values, labels, indices = load(splits[name], example)
        found_columns[name] = read_columns(columns, splits[name], indices)
        texts = [value.decode("utf-8", "replace") for value in values]
        if encoders is None:
            if name != "train":
                raise TfloopError("the dataset has no split `train`", code=ExitCode.DATA)
            classes = np.asarray(labels) if example.class_names else None
            candidates = Candidates(len(texts), list(splits), classes, found_columns[name], list(columns))
            fitted = training_rows(candidates, build_context().rules)
            target = TargetEncoder((example.target,), example.class_names)
            names = {"text": example.input, "target": target}
            encoders, encoded = TextEncoders.fitted(texts, fitted, features, VOCABULARY, MAX_TOKENS, **names)
        else:
            encoded = encoders.encode(texts)
        arrays[name] = (*encoded[:2], np.asarray(labels), *encoded[2:])
    assert encoders
    dataset = text_dataset(arrays, encoders.target.class_names, encoders.vocabulary, identity, encoders)
    return replace(dataset, columns=columns_of(found_columns))
