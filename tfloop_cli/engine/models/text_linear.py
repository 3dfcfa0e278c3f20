"""A linear text classifier on n-grams."""

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.data.text_source import has_weighted_ids
from tfloop_cli.engine.kernels import WeightedSum
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import models


@models.register("text_linear")
def text_linear(spec: DataSpec) -> keras.Model:
    """One linear layer on the weighted n-grams of a text (logistic regression on TF-IDF features), or on its words.

    It is strong on few short texts in any script. It needs a high learning rate: text.yaml uses SGD with rate 3.

    Args:
        spec: shape of the data: texts.
    """
    if not has_weighted_ids(spec) and (len(spec.input_shape) != 1 or not spec.vocabulary):
        raise TfloopError(
            f"model `text_linear` needs texts; the inputs of this dataset have shape {spec.input_shape}",
            hint="use another model, or a dataset like `text`",
        )
    layer = WeightedSum(spec.vocabulary, spec.outputs, name="linear")
    if not has_weighted_ids(spec):
        return keras.Sequential([keras.Input(spec.input_shape, dtype="int32"), layer], name="text_linear")
    inputs = {name: keras.Input(one.shape, dtype=one.dtype, name=name) for name, one in spec.inputs.items()}
    return keras.Model(inputs, layer(inputs["ids"], inputs["weights"]), name="text_linear")
