"""Keras' augmentation layers, as functions of the seed."""

import inspect
from typing import Any, Literal

import keras
import tensorflow as tf

from tfloop_cli.engine.augmentations import Augmentation, Mixing
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import augmentations


@augmentations.register("keras")
def keras_layer(
    *,
    layer: Literal[
        "CutMix", "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter",
        "RandomContrast", "RandomCrop", "RandomElasticTransform", "RandomErasing", "RandomFlip",
        "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective",
        "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear",
        "RandomTranslation", "RandomZoom", "Solarization",
    ] = "RandomErasing",
    arguments: dict[str, Any] = {},
) -> Augmentation | Mixing:  # fmt: skip
    """One of Keras' augmentation layers, with the random numbers of the step: a resumed run sees the same images.

    The augmentations of tfloop are faster where both exist: `affine`, `shift`, `flip`. MixUp and CutMix mix the targets
    too. What RandomCrop cuts out, at the same place for the whole batch, is enlarged to the size of the images.

    Args:
        layer: name of the class in `keras.layers`.
        arguments: of the class, such as `{factor: 0.2}`; `value_range` and `seed` are set.
    """
    kind = getattr(keras.layers, layer)
    known = {name for base in kind.__mro__ for name in inspect.signature(base.__init__).parameters}
    fixed = {"value_range": (0.0, 1.0)} if "value_range" in known else {}
    if forbidden := sorted(arguments.keys() & {"seed", "value_range", "dtype", "name", "data_format"}):
        raise TfloopError(f"augmentation `keras`: the argument `{forbidden[0]}` cannot be set")
    try:
        built = kind(**arguments, **fixed)
    except (TypeError, ValueError) as error:
        raise TfloopError(f"augmentation `keras`: {layer}: {error}") from error
    seeds = _StepSeeds()
    for inner in built._flatten_layers():  # RandAugment and others do not pass their own `seed` on
        object.__setattr__(inner, "_get_seed_generator", lambda backend=None: seeds)

    def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        seeds.begin(seed)
        changed = built(tf.cast(images, tf.float32), training=True)
        if layer == "RandomCrop":
            changed = tf.image.resize(changed, images.shape[1:3])
        return tf.clip_by_value(tf.cast(changed, images.dtype), 0.0, 1.0)

    def mix(images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seeds.begin(seed)
        batch = {"images": tf.cast(images, tf.float32), "labels": tf.cast(targets, tf.float32)}
        mixed = built(batch, training=True)
        return tf.cast(mixed["images"], images.dtype), tf.cast(mixed["labels"], targets.dtype)

    return Mixing(mix) if layer in ("CutMix", "MixUp") else augment


class _StepSeeds(keras.random.SeedGenerator):
    """Seeds that are a function of the step: Keras' own generator has a variable that no checkpoint contains."""

    def __init__(self) -> None:
        """Creates no variable, unlike the base class."""

    def begin(self, seed: tf.Tensor) -> None:
        """Starts the seeds of a step: int32 [2]."""
        self._base, self._drawn = tf.cast(seed, tf.int32), 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        self._drawn += 1
        return tf.random.experimental.stateless_fold_in(self._base, self._drawn)
