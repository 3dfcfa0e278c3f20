"""Models that read text: ids of words, where 0 stands for nothing."""

import keras
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.errors import TfloopError
from tfloop_cli.fields import PositiveInt, Rate
from tfloop_cli.registry import models


@models.register("text_classifier")
def text_classifier(
    spec: DataSpec, *, width: PositiveInt = 64, hidden: list[PositiveInt] = [64], dropout: Rate = 0.0
) -> keras.Model:
    """The mean of a text's word vectors, then dense layers (fastText: Joulin et al. 2016, arXiv:1607.01759).

    Args:
        spec: shape of the data: texts.
        width: numbers that stand for a word.
        hidden: width of each dense layer before the last one, each followed by relu.
        dropout: share of the features that a training step drops before each dense layer.
    """
    if not spec.vocabulary:
        raise TfloopError(
            f"model `text_classifier` needs texts; this dataset's inputs are {spec.input_shape}",
            hint="take another model, or a dataset like `text`",
        )
    layers = [
        keras.Input(spec.input_shape, dtype="int32"),
        WordMean(spec.vocabulary, width, name="embedding"),
    ]
    for units in hidden:
        layers += [keras.layers.Dropout(dropout)] if dropout else []
        layers.append(keras.layers.Dense(units, activation="relu"))
    layers += [keras.layers.Dropout(dropout)] if dropout else []
    return keras.Sequential([*layers, keras.layers.Dense(spec.outputs)], name="text_classifier")


class WordMean(keras.layers.Embedding):
    """The mean of the vectors of a text's words: int32 [batch, places] -> float [batch, width]; 0 for an empty text.

    A place with 0 holds no word. Keras' own GlobalAveragePooling1D makes NaN of an empty text.

    Attributes:
        sparsely: whether to sum the words' vectors where they lie, without a tensor of [batch, places, width], and to
            derive so. XLA cannot.
    """

    sparsely = False

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        there = tf.not_equal(inputs, 0)
        if self.sparsely and self.compute_dtype in ("float32", "float64"):
            places = tf.where(there)  # int64 [words, 2]
            words, texts = tf.gather_nd(inputs, places), places[:, 0]  # each [words]
            means = tf.sparse.segment_mean(self.embeddings, words, texts, num_segments=tf.shape(inputs)[0])
            return tf.ensure_shape(means, [inputs.shape[0], self.output_dim])
        vectors = super().call(inputs)  # [batch, places, width]
        weights = tf.cast(there, vectors.dtype)[..., tf.newaxis]  # [batch, places, 1]
        return tf.reduce_sum(vectors * weights, axis=1) / tf.maximum(tf.reduce_sum(weights, axis=1), 1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[0], self.output_dim
