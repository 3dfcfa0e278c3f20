"""Folds of the training split, for ensembles: each member is validated on the examples that it is not trained on."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.splits import epoch_order

MAX_VALIDATED = 10_000  # examples: more take longer, and do not change which epoch is the best


@dataclass(frozen=True)
class Folds:
    """A division of the training examples into folds. Member k of an ensemble is not trained on fold k % `count`.

    Attributes:
        count: the number of folds.
        fold: of each example of the dataset's training split, int32 [examples]; -1 if it is in another split.
        validated: indices of the examples on which the members that are not trained on them are evaluated, int64.
        rule: how examples that belong together were kept together; empty for at random.
    """

    count: int
    fold: np.ndarray
    validated: np.ndarray
    rule: str

    @property
    def note(self) -> str:
        """One line for the user."""
        rule = f" {self.rule}" if self.rule else ""
        trained = int((self.fold >= 0).sum())
        some = "" if len(self.validated) == trained else f" (on {len(self.validated):,} of them in all)"
        return (
            f"validation: in {self.count} folds{rule} of the {trained:,} training examples; each member is trained "
            f"without one fold, and validated on it{some}; `validation: 0.1` holds out a tenth instead"
        )

    @property
    def facts(self) -> dict[str, Any]:
        """What metadata contains about them; see `Splits.facts`."""
        digest = hashlib.sha256(self.fold.astype("<i4").tobytes()).hexdigest()
        rule = f"{self.count} folds{f' {self.rule}' if self.rule else ''}"
        return {"examples": len(self.validated), "rule": rule, "sha256": digest}

    def weights(self, split: str, indices: tf.Tensor, sample_weight: tf.Tensor | None, dtype: str) -> tf.Tensor:
        """Returns for which members each example counts: [batch, count], 0 or the weight of the example.

        Args:
            split: "train": for all members but one; "validation": for that one.
            indices: of the examples, int64 [batch].
            sample_weight: of the examples, [batch]; None for 1.
            dtype: of the result.
        """
        held_out = tf.one_hot(tf.gather(self.fold, indices), self.count, dtype=dtype)
        counts = held_out if split == "validation" else 1 - held_out
        return counts if sample_weight is None else counts * tf.cast(sample_weight, dtype)[:, tf.newaxis]


def divide(examples: int, count: int, key: int, classes: np.ndarray | None, groups: np.ndarray | None) -> np.ndarray:
    """Returns the fold of each example, int32 [examples], at random: the folds are equal in size, but for 1.

    Args:
        examples: the number of examples.
        count: the number of folds.
        key: another one gives other folds.
        classes: of each example, int [examples]: each fold has the same share of each class; None for no classes.
        groups: of each example, [examples]: a group is in one fold, so sizes may differ; None for no groups.
    """
    folds = np.zeros(examples, np.int32)
    if groups is None:
        order = epoch_order(key, 0, examples)
        if classes is not None:
            order = order[np.argsort(classes[order], kind="stable")]
        folds[order] = np.arange(examples) % count
        return folds
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    totals, fold_of = np.zeros(count, np.int64), np.zeros(len(sizes), np.int32)
    shuffled = epoch_order(key, 0, len(sizes))
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:  # the largest first, each into the smallest
        fold_of[group] = np.argmin(totals)
        totals[fold_of[group]] += sizes[group]
    return fold_of[numbers]
