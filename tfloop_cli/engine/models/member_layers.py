"""Layers of an ensemble whose members have weights of their own, and are computed together: [members, batch, ...].

Some weights learn faster or slower than the others: such a weight is a variable times `rate`. An optimizer that divides
gradients by their size, such as Adam, then changes it `rate` times as fast.
"""

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

FREQUENCIES = 16  # cosines per number
FREQUENCY_RATE = 0.1
SCALE_RATE = 6.0
SHARE_RATE = 10.0
EXCLUDED = -1e9  # added to the logarithm of the probabilities of a member that does not count

_register = keras.saving.register_keras_serializable("tfloop")


class _MemberLayer(keras.layers.Layer):
    """A layer with one set of weights per member.

    Args:
        members: the number of members.
        keywords: of every Keras layer.
    """

    def __init__(self, members: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.members = members

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"members": self.members}


@_register
class MemberDense(_MemberLayer):
    """A dense layer per member: inputs [members or 1, batch, features], outputs [members, batch, units].

    Args:
        members: the number of members.
        units: the number of outputs.
        deviation: standard deviation of the initial kernel; None for 1 / sqrt(features).
        rate: of kernel and bias.
        keywords: of every Keras layer.
    """

    def __init__(
        self, members: int, units: int, deviation: float | None = None, rate: float = 1.0, **keywords: Any
    ) -> None:
        super().__init__(members, **keywords)
        self.units, self.deviation, self.rate = units, deviation, rate

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        features = input_shape[-1]
        deviation = 1 / math.sqrt(features) if self.deviation is None else self.deviation
        kernel = keras.initializers.RandomNormal(stddev=deviation / self.rate) if deviation else "zeros"
        self.kernel = self.add_weight((self.members, features, self.units), kernel, name="kernel")
        self.bias = self.add_weight((self.members, 1, self.units), "zeros", name="bias")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if self.rate == 1:
            return ops.matmul(inputs, self.kernel) + self.bias
        return ops.matmul(inputs, self.kernel * self.rate) + self.bias * self.rate

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"units": self.units, "deviation": self.deviation, "rate": self.rate}


@_register
class MemberScale(_MemberLayer):
    """A learned factor per feature and member: inputs [members or 1, batch, features] -> [members, batch, features]."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        initial = keras.initializers.Constant(1 / SCALE_RATE)
        self.scale = self.add_weight((self.members, 1, input_shape[-1]), initial, name="scale")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs * (self.scale * SCALE_RATE)


@_register
class MemberCosines(_MemberLayer):
    """Embeds numbers: [batch, numbers] -> [members, batch, numbers * units].

    Each number becomes `FREQUENCIES` cosines with learned frequencies and phases, and a dense layer of its own.

    Args:
        members: the number of members.
        units: of the dense layer.
        keywords: of every Keras layer.
    """

    def __init__(self, members: int, units: int, **keywords: Any) -> None:
        super().__init__(members, **keywords)
        self.units = units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        numbers, initializers = input_shape[-1], keras.initializers
        shape = (self.members, numbers, 1, FREQUENCIES)
        frequencies = initializers.RandomNormal(stddev=1 / FREQUENCY_RATE)
        phases = initializers.RandomUniform(-math.pi / FREQUENCY_RATE, math.pi / FREQUENCY_RATE)
        kernel = initializers.RandomNormal(stddev=1 / math.sqrt(FREQUENCIES))
        self.frequencies = self.add_weight(shape, frequencies, name="frequencies")
        self.phases = self.add_weight(shape, phases, name="phases")
        self.kernel = self.add_weight((self.members, numbers, FREQUENCIES, self.units), kernel, name="kernel")
        self.bias = self.add_weight((self.members, 1, numbers * self.units), "zeros", name="bias")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        numbers = ops.transpose(inputs)[None, :, :, None]
        angles = numbers * (self.frequencies * FREQUENCY_RATE) + self.phases * FREQUENCY_RATE
        embedded = ops.matmul(ops.cos(angles), self.kernel)  # [members, numbers, batch, units]
        embedded = ops.transpose(embedded, (0, 2, 1, 3))
        return ops.reshape(embedded, (self.members, -1, inputs.shape[1] * self.units)) + self.bias

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"units": self.units}


@_register
class MemberEmbedding(_MemberLayer):
    """An embedding per member: ids, int [batch] -> [members, batch, units].

    Args:
        members: the number of members.
        ids: the number of ids.
        units: of an embedding.
        deviation: standard deviation of the initial embeddings.
        rate: of the embeddings.
        keywords: of every Keras layer.
    """

    def __init__(
        self, members: int, ids: int, units: int, deviation: float = 1.0, rate: float = 1.0, **keywords: Any
    ) -> None:
        super().__init__(members, **keywords)
        self.ids, self.units, self.deviation, self.rate = ids, units, deviation, rate

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        initial = keras.initializers.RandomNormal(stddev=self.deviation / self.rate) if self.deviation else "zeros"
        self.table = self.add_weight((self.ids, self.members * self.units), initial, name="embeddings")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        rows = ops.reshape(ops.take(self.table, inputs, axis=0), (-1, self.members, self.units))
        return ops.transpose(rows, (1, 0, 2)) * self.rate

    def get_config(self) -> dict[str, Any]:
        own = {"ids": self.ids, "units": self.units, "deviation": self.deviation, "rate": self.rate}
        return super().get_config() | own


@_register
class CombineMembers(keras.layers.Layer):
    """Combines members of two kinds: (1 - share) x mean of the first half + share x mean of the second, share learned.

    The means are those of probabilities, if the outputs are logits of classes, else of the outputs.

    Args:
        classes: whether the outputs are logits of classes; then the result is too.
        keywords: of every Keras layer.
    """

    def __init__(self, classes: bool, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.classes = classes

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.share = self.add_weight((), "zeros", name="share")  # its sigmoid is the share

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.combine(inputs, None)

    def combine(self, outputs: tf.Tensor, counts: tf.Tensor | None) -> tf.Tensor:
        """Returns the combined outputs, [batch, outputs].

        Args:
            outputs: of the members, [batch, members, outputs].
            counts: 1 for members that count, 0 for others, [batch, members]; None: all count.
        """
        if counts is None:
            counts = ops.ones_like(outputs[:, :, 0])
        outputs = ops.cast(outputs, keras.backend.result_type(outputs.dtype, "float32"))
        share, counts = ops.cast(self.share, outputs.dtype) * SHARE_RATE, ops.cast(counts, outputs.dtype)
        log_shares = ops.log_sigmoid(ops.stack([-share, share]))
        kinds = [ops.split(one, 2, axis=1) for one in (outputs, counts)]
        means = ops.stack([self._mean(*kind) for kind in zip(*kinds, strict=True)])  # [2, batch, outputs]
        if self.classes:  # the constant first: Keras would add it as a bias along the last axis, of two classes
            return ops.logsumexp(log_shares[:, None, None] + means, axis=0)
        return ops.sum(means * ops.exp(log_shares)[:, None, None], axis=0)

    def _mean(self, outputs: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        """Returns the mean of members of one kind, [batch, outputs]; of classes the logarithm of probabilities."""
        counts = counts[:, :, None]
        total = ops.maximum(ops.sum(counts, axis=1), 1)
        if not self.classes:
            return ops.sum(outputs * counts, axis=1) / total
        return ops.logsumexp(ops.log_softmax(outputs) + (1 - counts) * EXCLUDED, axis=1) - ops.log(total)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"classes": self.classes}
