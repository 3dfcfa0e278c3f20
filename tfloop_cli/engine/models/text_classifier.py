"""Text classifiers. Inputs are token ids; 0 is padding."""

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.data.text_source import has_weighted_ids
from tfloop_cli.engine.kernels.word_mean import WordMean
from tfloop_cli.engine.models.requirements import require_texts
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import models
from tfloop_cli.registry.argument_types import FractionBelowOne, PositiveInt


@models.register("text_classifier")
def text_classifier(
    spec: DataSpec, *, width: PositiveInt = 64, hidden: list[PositiveInt] = [64], dropout: FractionBelowOne = 0.0
) -> keras.Model:
    """The mean of the word embeddings, then dense layers (fastText: Joulin et al. 2016, arXiv:1607.01759).

    Args:
        spec: shape of the data: texts.
        width: dimension of the embeddings.
        hidden: units of the dense layers before the last one, each followed by relu.
        dropout: dropout rate before each dense layer.
    """
    if has_weighted_ids(spec):
        raise TfloopError(
            "model `text_classifier` needs token ids, and the texts of this dataset are n-grams",
            hint="use `dataset.features: ids`, or `model: text_linear`",
        )
    require_texts(spec, "text_classifier")
    layers = [
        keras.Input(spec.input_shape, dtype="int32"),
        WordMean(spec.vocabulary, width, name="embedding"),
    ]
    for units in hidden:
        layers += [keras.layers.Dropout(dropout)] if dropout else []
        layers.append(keras.layers.Dense(units, activation="relu"))
    layers += [keras.layers.Dropout(dropout)] if dropout else []
    return keras.Sequential([*layers, keras.layers.Dense(spec.outputs)], name="text_classifier")
