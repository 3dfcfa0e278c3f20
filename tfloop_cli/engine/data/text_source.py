"""Splits of texts in memory, as token ids or as weighted n-grams."""

import hashlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.array_dataset import fingerprint_of
from tfloop_cli.engine.data.encoders import Encoders
from tfloop_cli.engine.data.spec import Dataset, DataSpec, InputSpec, TargetSpec
from tfloop_cli.engine.data.structures import Structure

UNKNOWN, FIRST_WORD = 1, 2  # token ids; 0 is padding
Arrays = tuple[np.ndarray, ...]  # the arguments of a TextSource
WEIGHTED_IDS = {"ids": InputSpec((None,), "int32"), "weights": InputSpec((None,), "float32")}


class TextSource:
    """A split of texts in memory, of any lengths.

    Args:
        tokens: the ids of the tokens or n-grams of all texts, one text after another, int32 [tokens].
        row_splits: the start of each text in `tokens`, and the end of the last one, int64 [examples + 1].
        labels: int32 [examples], or numbers, float32 [examples, ...].
        weights: the weight of each n-gram, float32 [tokens]; None for token ids.
    """

    def __init__(
        self, tokens: np.ndarray, row_splits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
    ) -> None:
        with tf.device("CPU"):
            self.texts = tf.RaggedTensor.from_row_splits(tokens, row_splits)
            self.weights = None if weights is None else tf.RaggedTensor.from_row_splits(weights, row_splits)
            self.all_targets = tf.convert_to_tensor(labels)

    def __len__(self) -> int:
        return int(self.all_targets.shape[0])

    def gather(self, indices: tf.Tensor) -> tuple[Structure, tf.Tensor]:
        """See `Source`: int32 [batch, longest text], padded with 0, and targets [batch, ...].

        With weights the inputs are {"ids": as above, "weights": float32 of the same shape}.
        """
        with tf.device("CPU"):  # as in `ArraySource`
            inputs = tf.gather(self.texts, indices).to_tensor()
            if self.weights is not None:
                inputs = {"ids": inputs, "weights": tf.gather(self.weights, indices).to_tensor()}
            return inputs, tf.gather(self.all_targets, indices)


def has_weighted_ids(spec: DataSpec) -> bool:
    """Whether the inputs are weighted n-grams: `ids` and `weights`."""
    return spec.inputs == WEIGHTED_IDS


def text_dataset(
    splits: Mapping[str, Arrays],
    class_names: tuple[str, ...],
    vocabulary: int,
    identity: object = None,
    encoders: Encoders | None = None,
) -> Dataset:
    """Returns a dataset of texts.

    Args:
        splits: name of a split -> the arguments of its `TextSource`, with weights in all splits or in none.
        class_names: in the order of the labels; () for numbers.
        vocabulary: number of ids, 0 included.
        identity: what the ids and labels stand for; part of the fingerprint.
        encoders: see `Dataset`.
    """
    digest = hashlib.sha256(fingerprint_of(splits).encode())
    digest.update(repr(identity).encode())
    first = next(iter(splits.values()))
    weighted = len(first) > 3
    inputs = WEIGHTED_IDS if weighted else InputSpec((None,), "int32")
    return Dataset(
        spec=DataSpec.of(inputs, TargetSpec(first[2].shape[1:], class_names), vocabulary),
        splits={name: TextSource(*arrays) for name, arrays in splits.items()},
        fingerprint=digest.hexdigest(),
        encoders=encoders,
    )
