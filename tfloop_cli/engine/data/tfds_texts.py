"""Texts of TensorFlow Datasets (TFDS), as token ids or n-grams in memory."""

import unicodedata
from collections.abc import Mapping

import numpy as np

from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.choosing import Candidates, training_rows
from tfloop_cli.engine.data.spec import Dataset
from tfloop_cli.engine.data.text_source import Arrays, text_dataset
from tfloop_cli.engine.data.texts.encoders import Features, TextEncoders
from tfloop_cli.engine.data.tfds_files import Split
from tfloop_cli.engine.data.tfds_records import Example, load
from tfloop_cli.errors import ExitCode, TfloopError

VOCABULARY, MAX_TOKENS = 20_000, 400  # the defaults of the dataset `text`


def read_texts(splits: Mapping[str, Split], example: Example, features: Features, identity: str) -> Dataset:
    """Returns the dataset of splits whose inputs are texts.

    Args:
        splits: by name.
        example: how a record is decoded.
        features: see the dataset `text`.
        identity: of the dataset in TFDS.

    Raises:
        TfloopError: a file cannot be read, the targets are not classes, or there is no split `train` (exit code 4).
    """
    if not example.class_names or example.input_shape:
        problem = f"the feature `{example.input}` is text, and the target `{example.target}` is not one class per text"
        raise TfloopError(problem, hint="set `dataset.target` to a feature of classes", code=ExitCode.DATA)
    encoders = TextEncoders.from_json(found) if (found := build_context().encoders) else None
    arrays: dict[str, Arrays] = {}
    for name in sorted(splits, key=lambda name: name != "train"):  # the encoders are those of the training split
        values, labels, _ = load(splits[name], example)
        texts = [unicodedata.normalize("NFC", value.decode("utf-8", "replace")) for value in values]
        if encoders is None:
            if name != "train":
                raise TfloopError("the dataset has no split `train`", code=ExitCode.DATA)
            candidates = Candidates(len(texts), list(splits), np.asarray(labels))
            fitted = training_rows(candidates, build_context().rules)
            columns = {"text": example.input, "target": example.target, "class_names": example.class_names}
            encoders, encoded = TextEncoders.fitted(texts, fitted, features, VOCABULARY, MAX_TOKENS, **columns)
        else:
            encoded = encoders.encode(texts)
        arrays[name] = (*encoded[:2], np.asarray(labels, np.int32), *encoded[2:])
    assert encoders
    return text_dataset(arrays, encoders.class_names, encoders.vocabulary, identity, encoders)
