"""A linear layer on few of many features: each example has the ids of its features and their weights."""

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels.settings import current_settings

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("tfloop")
class WeightedSum(keras.layers.Layer):
    """A linear layer: the sum of the rows of its matrix at `ids`, each multiplied by its weight, plus a bias.

    `ids` are int32 [batch, features], where 0 is no feature; `weights` are float of the same shape. Without weights,
    each of an example's n features has the weight 1 / sqrt(n). Matrix and bias are 0 at the start.

    While tfloop traces its own graphs, the rows are multiplied as a sparse matrix, without a tensor
    [batch, features, units]. XLA does not support that.

    Args:
        vocabulary: number of ids, 0 included.
        units: number of outputs per example.
        scale: the outputs are multiplied by it.
    """

    def __init__(self, vocabulary: int, units: int, scale: float = 1.0, **arguments: object) -> None:
        super().__init__(**arguments)
        self.vocabulary, self.units, self.scale = vocabulary, units, scale

    def build(self, ids_shape: Shape, weights_shape: Shape | None = None) -> None:
        self.kernel = self.add_weight(shape=(self.vocabulary, self.units), initializer="zeros", name="kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
        self.built = True

    def call(self, ids: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        is_feature = tf.not_equal(ids, 0)
        if weights is None:
            count = tf.reduce_sum(tf.cast(is_feature, self.compute_dtype), axis=1, keepdims=True)
            weights = tf.ones_like(ids, self.compute_dtype) * tf.math.rsqrt(tf.maximum(count, 1))
        kernel = tf.convert_to_tensor(self.kernel)
        settings = current_settings()
        if settings.enabled and not settings.xla and self.compute_dtype in ("float32", "float64"):
            sums = _sparse_sums(ids, weights, is_feature, kernel)
        else:
            rows = tf.gather(kernel, ids)  # [batch, features, units]
            weights = tf.where(is_feature, weights, tf.zeros_like(weights))
            sums = tf.reduce_sum(rows * tf.expand_dims(weights, -1), axis=1)
        outputs = tf.ensure_shape(sums + tf.convert_to_tensor(self.bias), [ids.shape[0], self.units])
        return outputs if self.scale == 1 else outputs * self.scale

    def compute_output_shape(self, ids_shape: Shape, weights_shape: Shape | None = None) -> Shape:
        return ids_shape[0], self.units

    def get_config(self) -> dict[str, object]:
        return super().get_config() | {"vocabulary": self.vocabulary, "units": self.units, "scale": self.scale}


def _sparse_sums(ids: tf.Tensor, weights: tf.Tensor, is_feature: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Returns the sums of weighted rows, float [batch, units]."""
    positions = tf.where(is_feature)  # int64 [all features, 2]
    columns = tf.cast(tf.gather_nd(ids, positions), tf.int64)
    shape = tf.stack([tf.shape(ids, tf.int64)[0], tf.shape(kernel, tf.int64)[0]])
    matrix = tf.SparseTensor(tf.stack([positions[:, 0], columns], axis=1), tf.gather_nd(weights, positions), shape)
    return tf.sparse.sparse_dense_matmul(matrix, kernel)
