"""Random augmentations of training images, one file each.

A builder returns a function of a batch of images, float [batch, height, width, channels] in [0, 1], and a seed,
int32 [2], which depends only on the run's seed and the step. So a repeated step sees the same images.
"""

from collections.abc import Callable

import tensorflow as tf

from tfloop_cli.registry.results import wrong_result

Augmentation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def require_same_shape(augmented: object, inputs: tf.Tensor, name: str) -> tf.Tensor:
    """Returns what an augmentation made of a batch.

    Raises:
        TfloopError: it is no tensor, or has another shape or dtype than `inputs` (exit code 7).
    """
    found = augmented if tf.is_tensor(augmented) else None
    if found is None or found.dtype != inputs.dtype or not found.shape.is_compatible_with(inputs.shape):
        result = type(augmented).__name__ if found is None else f"{found.dtype.name} {found.shape}"
        problem = f"its function returned {result}, not {inputs.dtype.name} {inputs.shape}"
        raise wrong_result("augmentation", name, problem, "return inputs of the same shape and dtype")
    return tf.ensure_shape(found, inputs.shape)
