"""Models that see their input as one row of numbers."""

from typing import Literal

import keras

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.errors import TfloopError
from tfloop_cli.fields import PositiveInt, Rate
from tfloop_cli.registry import models


@models.register("linear")
def linear(spec: DataSpec) -> keras.Model:
    """One dense layer: logistic regression for classes, linear regression for numbers."""
    return keras.Sequential([*_row(spec, "linear"), keras.layers.Dense(spec.outputs)], name="linear")


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
    layers = _row(spec, "mlp")
    for width in hidden:
        layers.append(keras.layers.Dense(width, activation=activation))
        if dropout:
            layers.append(keras.layers.Dropout(dropout))
    return keras.Sequential([*layers, keras.layers.Dense(spec.outputs)], name="mlp")


def _row(spec: DataSpec, model: str) -> list[keras.KerasTensor | keras.Layer]:
    """The first two layers: the input, and all of its numbers in one row."""
    if None in spec.input_shape:
        raise TfloopError(
            f"model `{model}` needs inputs of one size; this dataset's have shape {spec.input_shape}",
            hint="take a model for texts, such as `text_classifier`, or another dataset",
        )
    return [keras.Input(spec.input_shape), keras.layers.Flatten()]
