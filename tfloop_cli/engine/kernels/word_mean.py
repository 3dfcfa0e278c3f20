"""The mean of the word embeddings of a text, with and without a tensor of all of them."""

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels.settings import current_settings


@keras.saving.register_keras_serializable("tfloop")
class WordMean(keras.layers.Embedding):
    """The mean of the embeddings of a text's words: int32 [batch, positions] -> float [batch, dimension].

    A position with id 0 has no word. The mean of an empty text is 0; Keras' GlobalAveragePooling1D returns NaN for it.

    While tfloop traces its own graphs, the embeddings of the words are summed by a sparse operation, forward and
    backward, without a tensor [batch, positions, dimension]. XLA does not support that.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        is_word = tf.not_equal(inputs, 0)
        settings = current_settings()
        if settings.enabled and not settings.xla and self.compute_dtype in ("float32", "float64"):
            positions = tf.where(is_word)  # int64 [words, 2]
            words, texts = tf.gather_nd(inputs, positions), positions[:, 0]  # each [words]
            # One more text, of one word: without any word, the gradient of segment_mean is uninitialized memory.
            batch = tf.shape(inputs, out_type=tf.int64)[0]
            words, texts = tf.concat([words, [0]], axis=0), tf.concat([texts, [batch]], axis=0)
            means = tf.sparse.segment_mean(self.embeddings, words, texts, num_segments=batch + 1)[:-1]
            return tf.ensure_shape(means, [inputs.shape[0], self.output_dim])
        embeddings = super().call(inputs)  # [batch, positions, dimension]
        weights = tf.expand_dims(tf.cast(is_word, embeddings.dtype), -1)  # [batch, positions, 1]
        return tf.reduce_sum(embeddings * weights, axis=1) / tf.maximum(tf.reduce_sum(weights, axis=1), 1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[0], self.output_dim
