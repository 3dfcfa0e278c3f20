"""A small CNN for images of 8 to 256 pixels whose layers follow from the size of the images."""

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.models.requirements import require_image
from tfloop_cli.registry import models
from tfloop_cli.registry.argument_types import FractionBelowOne, PositiveFloat

# The longest side, in pixels -> filters of the convolutions with stride 2 at the start, filters of the stages.
_LAYERS = {
    40: ((), (32, 64, 128, 256)),
    80: ((32,), (32, 64, 128, 256)),
    128: ((16,), (16, 32, 64, 128, 256)),
    2**31: ((16, 16), (16, 32, 64, 128, 256)),
}


@models.register("image_classifier")
def image_classifier(
    spec: DataSpec,
    *,
    width: PositiveFloat = 1.0,
    dropout: FractionBelowOne = 0.0,
    batch_norm_momentum: FractionBelowOne = 0.9,
) -> keras.Model:
    """A CNN that learns from few images: one convolution per stage, batch normalization, mean and max pooling.

    Images are standardized per channel by the statistics of the training examples. Sides up to 40 pixels have stages
    of 32, 64, 128 and 256 filters with max pooling between them. Sides up to 80 have a convolution of 32 filters with
    stride 2 before them. Longer ones have one of 16 filters, above 128 pixels two, and a stage of 16 filters.

    Args:
        spec: shape of the data: images.
        width: multiplies all numbers of filters.
        dropout: dropout rate before the dense layer.
        batch_norm_momentum: the fraction of its moving statistics that batch normalization keeps per step.
    """
    require_image(spec, "image_classifier")
    stem, stages = next(layers for side, layers in _LAYERS.items() if max(spec.input_shape[:2]) <= side)

    def convolution(values: keras.KerasTensor, filters: int, strides: int = 1) -> keras.KerasTensor:
        filters = max(1, round(filters * width))
        values = keras.layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(values)
        values = keras.layers.BatchNormalization(momentum=batch_norm_momentum)(values)
        return keras.layers.ReLU()(values)

    inputs = keras.Input(spec.input_shape)
    # Without scale and offset it only standardizes, and its statistics are part of the checkpoint.
    values = keras.layers.BatchNormalization(center=False, scale=False, momentum=batch_norm_momentum)(inputs)
    for filters in stem:
        values = convolution(values, filters, strides=2)
    for number, filters in enumerate(stages):
        if number:
            values = keras.layers.MaxPooling2D(padding="same")(values)  # "same": an odd side is not cut
        values = convolution(values, filters)
    pooled = [keras.layers.GlobalAveragePooling2D()(values), keras.layers.GlobalMaxPooling2D()(values)]
    values = keras.layers.Concatenate()(pooled)
    if dropout:
        values = keras.layers.Dropout(dropout)(values)
    return keras.Model(inputs, keras.layers.Dense(spec.outputs)(values), name="image_classifier")
