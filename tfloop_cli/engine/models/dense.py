"""Models of dense layers, on flattened inputs."""

from typing import Literal

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import models
from tfloop_cli.registry.argument_types import FractionBelowOne, PositiveInt


@models.register("linear")
def linear(spec: DataSpec) -> keras.Model:
    """One dense layer: logistic regression for classes, linear regression for numbers.

    Args:
        spec: shape of the data.
    """
    return keras.Sequential([*_input_layers(spec, "linear"), keras.layers.Dense(spec.outputs)], name="linear")


@models.register("mlp")
def mlp(
    spec: DataSpec,
    *,
    hidden: list[PositiveInt] = [128],
    dropout: FractionBelowOne = 0.0,
    activation: Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "tanh", "sigmoid"] = "relu",
) -> keras.Model:
    """A multilayer perceptron: dense layers, each followed by an activation and dropout.

    Args:
        spec: shape of the data.
        hidden: units of each hidden layer.
        dropout: dropout rate after each hidden layer.
        activation: activation of the hidden layers.
    """
    layers = _input_layers(spec, "mlp")
    for width in hidden:
        layers.append(keras.layers.Dense(width, activation=activation))
        if dropout:
            layers.append(keras.layers.Dropout(dropout))
    return keras.Sequential([*layers, keras.layers.Dense(spec.outputs)], name="mlp")


def _input_layers(spec: DataSpec, model: str) -> list[keras.KerasTensor | keras.Layer]:
    """Returns the first two layers: the input, flattened."""
    if None in spec.input_shape:
        raise TfloopError(
            f"model `{model}` needs inputs of a fixed shape; those of this dataset have shape {spec.input_shape}",
            hint="use a model for texts, such as `text_classifier`, or another dataset",
        )
    return [keras.Input(spec.input_shape), keras.layers.Flatten()]
