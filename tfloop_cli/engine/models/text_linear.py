"""A linear text classifier on n-grams."""

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.data.text_source import has_weighted_ids
from tfloop_cli.engine.kernels import WeightedSum
from tfloop_cli.engine.models.requirements import require_texts
from tfloop_cli.registry import models

# A squared error is curved as much as the squared norm of the weights of a text; so gradient descent with momentum
# needs a lower rate than for cross-entropy. A factor in the layer has the square of its effect on the rate.
NUMBERS_SCALE = 0.25


@models.register("text_linear")
def text_linear(spec: DataSpec) -> keras.Model:
    """One linear layer on the weighted n-grams of a text (logistic regression on TF-IDF features), or on its words.

    It is strong on few short texts in any script. It needs a high learning rate: text.yaml uses SGD with rate 3. For
    targets that are numbers, its outputs are multiplied by 1/4, so that the same rate suits.

    Args:
        spec: shape of the data: texts.
    """
    require_texts(spec, "text_linear")
    scale = 1.0 if spec.classes else NUMBERS_SCALE
    layer = WeightedSum(spec.vocabulary, spec.outputs, scale, name="linear")
    if not has_weighted_ids(spec):
        return keras.Sequential([keras.Input(spec.input_shape, dtype="int32"), layer], name="text_linear")
    inputs = {name: keras.Input(one.shape, dtype=one.dtype, name=name) for name, one in spec.inputs.items()}
    return keras.Model(inputs, layer(inputs["ids"], inputs["weights"]), name="text_linear")
