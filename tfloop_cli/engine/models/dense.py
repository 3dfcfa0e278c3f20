"""Models that see their input as one row of numbers."""

from typing import Literal

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.fields import PositiveInt, Rate
from tfloop_cli.registry import models


@models.register("linear")
def linear(spec: DataSpec) -> keras.Model:
    """One dense layer: logistic regression for classes, linear regression for numbers."""
    return keras.Sequential(
        [keras.Input(spec.input_shape), keras.layers.Flatten(), keras.layers.Dense(spec.outputs)], name="linear"
    )


@models.register("mlp")
def mlp(
    spec: DataSpec,
    *,
    hidden: list[PositiveInt] = [128],
    dropout: Rate = 0.0,
    activation: Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "tanh", "sigmoid"] = "relu",
) -> keras.Model:
    """Dense layers, each followed by an activation and dropout.

    Args:
        spec: shape of the data.
        hidden: width of each hidden layer.
        dropout: share of each hidden layer's outputs that a training step drops.
        activation: Keras' name of what each hidden layer's outputs go through.
    """
    layers = [keras.Input(spec.input_shape), keras.layers.Flatten()]
    for width in hidden:
        layers.append(keras.layers.Dense(width, activation=activation))
        if dropout:
            layers.append(keras.layers.Dropout(dropout))
    return keras.Sequential([*layers, keras.layers.Dense(spec.outputs)], name="mlp")
