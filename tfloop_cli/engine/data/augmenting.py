"""Builds the augmentations of a config, and checks what they return."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfloop_cli.engine.augmentations import Mixing
from tfloop_cli.engine.data.spec import DataSpec
from tfloop_cli.engine.data.structures import Structure, is_several
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import Component, augmentations
from tfloop_cli.registry.results import wrong_result

Augmentation = Callable[[tf.Tensor, Structure, tf.Tensor], tuple[tf.Tensor, Structure]]


def build_augmentations(components: Sequence[Component], spec: DataSpec) -> list[Augmentation]:
    """Returns functions of a training batch and a seed, int32 [2], to inputs and targets.

    The inputs are images, float [batch, height, width, channels]. The targets change only if examples are mixed: the
    probability of each class, float [batch, classes], in place of classes, or numbers.

    Raises:
        TfloopError: the inputs are no images, or the targets cannot be mixed (exit code 2); a builder, or later its
            function, returns something that cannot be used (exit code 7).
    """
    if components:
        spec.require_one_image("augment")
    built = [(component.name, augmentations.build(component)) for component in components]
    return [_mixing(name, one, spec) if isinstance(one, Mixing) else _checked(name, one) for name, one in built]


def _checked(name: str, augment: Callable[[tf.Tensor, tf.Tensor], Any]) -> Augmentation:
    def augment_and_check(inputs: tf.Tensor, targets: Structure, seed: tf.Tensor) -> tuple[tf.Tensor, Structure]:
        found = augment(inputs, seed)
        if tf.is_tensor(found) and found.dtype == inputs.dtype and found.shape.is_compatible_with(inputs.shape):
            return tf.ensure_shape(found, inputs.shape), targets
        result = f"{found.dtype.name} {found.shape}" if tf.is_tensor(found) else type(found).__name__
        problem = f"its function returned {result}, not {inputs.dtype.name} {inputs.shape}"
        raise wrong_result("augmentation", name, problem, "return inputs of the same shape and dtype")

    return augment_and_check


def _mixing(name: str, mixing: Mixing, spec: DataSpec) -> Augmentation:
    if is_several(spec.targets) or spec.one_hot or (spec.classes and spec.target_shape not in ((), (1,))):
        raise TfloopError(
            f"augmentation `{name}`: the targets cannot be mixed: they are neither one class per example nor numbers"
        )

    def mix(inputs: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if spec.classes and not targets.dtype.is_floating:  # else they are mixed already
            targets = tf.one_hot(spec.labels_of(targets), spec.classes, dtype=inputs.dtype)
        shape = targets.shape
        inputs_mixed, mixed = mixing(inputs, tf.reshape(targets, [-1, spec.outputs]), seed)
        return tf.ensure_shape(inputs_mixed, inputs.shape), tf.ensure_shape(tf.reshape(mixed, tf.shape(targets)), shape)

    return mix
