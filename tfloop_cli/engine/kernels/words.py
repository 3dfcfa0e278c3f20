"""The mean of a text's word vectors, with and without a tensor of all of them."""

import keras
import tensorflow as tf


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
