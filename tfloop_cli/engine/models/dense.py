"""Models of dense layers, on flattened inputs."""

from typing import Literal

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.models.requirements import refuse_texts
from tfloop_cli.engine.models.table_inputs import has_ids, split_columns
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import models
from tfloop_cli.registry.argument_types import FractionBelowOne, PositiveInt

EMBEDDING = 8  # dimension of the embedding of a category with many levels


@models.register("linear")
def linear(spec: DataSpec) -> keras.Model:
    """One dense layer: logistic regression for classes, linear regression for numbers.

    Each id of a wide category of a table has a weight per output, as if it was one-hot encoded.

    Args:
        spec: shape of the data.
    """
    refuse_texts(spec, "linear", "numbers")
    if not has_ids(spec):
        return keras.Sequential([*_input_layers(spec, "linear"), keras.layers.Dense(spec.outputs)], name="linear")
    inputs, numbers, ids = split_columns(spec)
    terms = [keras.layers.Dense(spec.outputs)(numbers)] if numbers is not None else []
    terms += [
        keras.layers.Embedding(count, spec.outputs, embeddings_initializer="zeros")(feature) for count, feature in ids
    ]
    return keras.Model(inputs, keras.layers.add(terms) if len(terms) > 1 else terms[0], name="linear")


@models.register("mlp")
def mlp(
    spec: DataSpec,
    *,
    hidden: list[PositiveInt] = [128],
    dropout: FractionBelowOne = 0.0,
    activation: Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "tanh", "sigmoid"] = "relu",
) -> keras.Model:
    """A multilayer perceptron: dense layers, each followed by an activation and dropout.

    Each id of a wide category of a table has an embedding of 8 numbers.

    Args:
        spec: shape of the data.
        hidden: units of each hidden layer.
        dropout: dropout rate after each hidden layer.
        activation: activation of the hidden layers.
    """
    refuse_texts(spec, "mlp", "numbers")
    layers = []
    for width in hidden:
        layers.append(keras.layers.Dense(width, activation=activation))
        if dropout:
            layers.append(keras.layers.Dropout(dropout))
    layers.append(keras.layers.Dense(spec.outputs))
    if not has_ids(spec):
        return keras.Sequential([*_input_layers(spec, "mlp"), *layers], name="mlp")
    inputs, numbers, ids = split_columns(spec)
    features = [] if numbers is None else [numbers]
    features += [keras.layers.Embedding(count, EMBEDDING)(feature) for count, feature in ids]
    outputs = keras.layers.concatenate(features) if len(features) > 1 else features[0]
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs, name="mlp")


def _input_layers(spec: DataSpec, model: str) -> list[keras.KerasTensor | keras.Layer]:
    """Returns the first two layers: the input, flattened."""
    if None in spec.input_shape:
        raise TfloopError(
            f"model `{model}` needs inputs of a fixed shape; those of this dataset have shape {spec.input_shape}",
            hint="use another model or another dataset",
        )
    return [keras.Input(spec.input_shape), keras.layers.Flatten()]
