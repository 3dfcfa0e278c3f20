"""Models that read text: ids of words, where 0 stands for nothing."""

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.kernels.words import WordMean
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
