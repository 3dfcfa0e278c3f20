"""Splits of texts in memory, as token ids."""

import hashlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.array_dataset import fingerprint_of
from tfloop_cli.engine.data.spec import Dataset, DataSpec

UNKNOWN, FIRST_WORD = 1, 2  # token ids; 0 is padding
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]  # the arguments of a TextSource


class TextSource:
    """A split of texts in memory, of any lengths.

    Args:
        tokens: the token ids of all texts, one text after another, int32 [tokens].
        row_splits: the start of each text in `tokens`, and the end of the last one, int64 [examples + 1].
        labels: int32 [examples].
    """

    def __init__(self, tokens: np.ndarray, row_splits: np.ndarray, labels: np.ndarray) -> None:
        with tf.device("CPU"):
            self.texts = tf.RaggedTensor.from_row_splits(tokens, row_splits)
            self.all_targets = tf.convert_to_tensor(labels)

    def __len__(self) -> int:
        return int(self.all_targets.shape[0])

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`: int32 [batch, longest text], padded with 0, and int32 [batch]."""
        return tf.gather(self.texts, indices).to_tensor(), tf.gather(self.all_targets, indices)


def text_dataset(
    splits: Mapping[str, Arrays], class_names: tuple[str, ...], vocabulary: int, identity: object = None
) -> Dataset:
    """Returns a dataset of texts.

    Args:
        splits: name of a split -> the arguments of its `TextSource`.
        class_names: in the order of the labels.
        vocabulary: number of token ids.
        identity: what the ids and labels stand for; part of the fingerprint.
    """
    digest = hashlib.sha256(fingerprint_of(splits).encode())
    digest.update(repr(identity).encode())
    return Dataset(
        spec=DataSpec((None,), "int32", (), class_names, vocabulary),
        splits={name: TextSource(*arrays) for name, arrays in splits.items()},
        fingerprint=digest.hexdigest(),
    )
