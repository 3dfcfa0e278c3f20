"""Builds the augmentations of a config, and checks what they return."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from tfloop_cli.engine.data.spec import DataSpec
from tfloop_cli.registry import Component, augmentations
from tfloop_cli.registry.results import wrong_result

Augmentation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def build_augmentations(components: Sequence[Component], spec: DataSpec) -> list[Augmentation]:
    """Returns functions of a batch of images, float [batch, height, width, channels], and a seed, int32 [2].

    Raises:
        TfloopError: the inputs are no images (exit code 2); a builder, or later its function, returns something that
            cannot be used (exit code 7).
    """
    if components:
        spec.require_one_image("augment")
    return [_checked(component.name, augmentations.build(component)) for component in components]


def _checked(name: str, augment: Augmentation) -> Augmentation:
    def augment_and_check(inputs: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        found = augment(inputs, seed)
        if tf.is_tensor(found) and found.dtype == inputs.dtype and found.shape.is_compatible_with(inputs.shape):
            return tf.ensure_shape(found, inputs.shape)
        result = f"{found.dtype.name} {found.shape}" if tf.is_tensor(found) else type(found).__name__
        problem = f"its function returned {result}, not {inputs.dtype.name} {inputs.shape}"
        raise wrong_result("augmentation", name, problem, "return inputs of the same shape and dtype")

    return augment_and_check
