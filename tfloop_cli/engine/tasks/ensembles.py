"""Ensembles: models whose members have a loss each, and are validated on the examples that they are not trained on."""

from collections.abc import Callable
from typing import Self

import keras
import tensorflow as tf

from tfloop_cli.engine.data.structures import Structure


class Ensemble:
    """A model whose last layer combines the predictions of its members.

    Args:
        model: a functional model. The input of its last layer is [batch, members, outputs], and the layer has
            `combine(outputs, counts)`, which returns the predictions [batch, outputs] of the members that count.
    """

    def __init__(self, model: keras.Model) -> None:
        last = model.layers[-1]
        self.combine: Callable[[tf.Tensor, tf.Tensor | None], tf.Tensor] = last.combine
        self.members = keras.Model(model.inputs, last.input, name="members")
        self.count = int(last.input.shape[1])

    @classmethod
    def of(cls, model: keras.Model) -> Self | None:
        """Returns the ensemble that a model is; None if it is none."""
        last = model.layers[-1] if isinstance(getattr(model, "outputs", None), list) and model.layers else None
        return cls(model) if hasattr(last, "combine") else None

    def counts(self, weights: tf.Tensor | None) -> tf.Tensor | None:
        """Returns which members count for which examples: 0 or 1, [batch, members]; None for all.

        Args:
            weights: [batch, folds], see `Folds.weights`, or one weight per example, [batch]; None for no weights.
        """
        if weights is None or weights.shape.rank < 2:
            return None
        folds = [member % weights.shape[1] for member in range(self.count)]  # there may be fewer folds than members
        return tf.gather(tf.cast(weights > 0, weights.dtype), folds, axis=1)

    def predictions(self, inputs: Structure, weights: tf.Tensor | None) -> tf.Tensor:
        """Returns the predictions of the members that count, [batch, outputs]."""
        return self.combine(self.members(inputs, training=False), self.counts(weights))


def member_losses(
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    targets: tf.Tensor,
    outputs: tf.Tensor,
    counts: tf.Tensor | None,
) -> tf.Tensor:
    """Returns the sum of the losses of the members that count, for each example: [batch].

    The sum, not the mean: so a member is trained as it would be alone.

    Args:
        loss: of each example: targets [batch, ...], outputs [batch, outputs] -> [batch].
        targets: [batch, ...].
        outputs: of all members, [batch, members, outputs].
        counts: see `Ensemble.counts`.
    """
    members = outputs.shape[1]
    losses = loss(tf.repeat(targets, members, axis=0), tf.reshape(outputs, [-1, outputs.shape[2]]))
    losses = tf.reshape(losses, [-1, members])
    return tf.reduce_sum(losses if counts is None else losses * tf.cast(counts, losses.dtype), axis=1)


def example_weights(weights: tf.Tensor | None) -> tf.Tensor | None:
    """Returns the weight of each example, [batch], from weights [batch] or [batch, folds]; None for none."""
    return weights if weights is None or weights.shape.rank < 2 else tf.reduce_max(weights, axis=1)
