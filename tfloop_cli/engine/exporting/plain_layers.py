"""Copies a functional model in float32, with Keras' own layers in place of tfloop's: a file of it needs no tfloop."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from tfloop_cli.engine.kernels import WeightedSum, WordMean
from tfloop_cli.engine.models.member_layers import (
    FREQUENCY_RATE,
    SCALE_RATE,
    CombineMembers,
    MemberCosines,
    MemberDense,
    MemberEmbedding,
    MemberScale,
)
from tfloop_cli.engine.models.vit import Position

Tensor = keras.KerasTensor
POLICIES = {"mixed_bfloat16", "mixed_float16", "float64", "bfloat16", "float16"}  # that become float32


@contextmanager
def float32_policy() -> Iterator[None]:
    """A context in which new layers and models compute in float32, whatever the precision of the run."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_floatx(floatx)


def rebuilt(model: keras.Model, *, plain: bool) -> keras.Model:
    """Returns a functional copy of a model that computes in float32.

    Args:
        model: of a run.
        plain: whether to replace tfloop's layers. Converters to other formats understand these better.

    Raises:
        ValueError, TypeError, NotImplementedError: it is neither functional nor a Sequential, or a layer of the user
            cannot be copied.
    """
    copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def copy(layer: keras.Operation) -> keras.Operation:
        if (plain and type(layer) in REPLACEMENTS) or not isinstance(
            layer, keras.layers.Layer
        ):  # the latter have no weights
            return layer
        copies.append((layer, type(layer).from_config(_in_float32(layer.get_config()))))
        return copies[-1][1]

    call = _replaced if plain else _called
    if isinstance(model, keras.Sequential):
        inputs = outputs = keras.Input(model.inputs[0].shape[1:], dtype=_float32_or(model.inputs[0].dtype))
        for layer in model.layers:
            outputs = call(copy(layer), outputs)
        made = keras.Model(inputs, outputs)
    else:
        made = keras.models.clone_model(model, clone_function=copy, call_function=call, recursive=True)
    for layer, of_it in copies:
        of_it.set_weights(layer.get_weights())
    return made


def _called(layer: keras.Operation, *inputs: Any, **keywords: Any) -> Any:
    return layer(*inputs, **keywords)


def _replaced(layer: keras.Operation, *inputs: Any, **keywords: Any) -> Any:
    replacement = REPLACEMENTS.get(type(layer))
    return replacement(layer, *inputs) if replacement else layer(*inputs, **keywords)


def _float32_or(dtype: str) -> str:
    return "float32" if dtype.startswith(("float", "bfloat")) else dtype


def _in_float32(value: Any) -> Any:
    """Returns the config of a layer with float32 in place of another dtype policy."""
    if isinstance(value, list | tuple):
        return type(value)(map(_in_float32, value))
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy" and value["config"]["name"] in POLICIES:
        return "float32"
    return {
        key: "float32" if key == "dtype" and isinstance(one, str) and one in POLICIES else _in_float32(one)
        for key, one in value.items()
    }


def _array(weights: Any) -> np.ndarray:
    return np.asarray(weights, np.float32)


def _einsum(
    equation: str, inputs: Tensor, outputs: tuple[int | None, ...], kernel: np.ndarray, bias: np.ndarray | None = None
) -> Tensor:
    """Returns einsum(equation, inputs, kernel) + bias; the bias has the last axes of the outputs."""
    axes = None if bias is None else equation.split("->")[1][-bias.ndim :]
    layer = keras.layers.EinsumDense(equation, outputs, bias_axes=axes, dtype="float32")
    result = layer(inputs)
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return result


def _embedded(ids: Tensor, table: np.ndarray) -> Tensor:
    layer = keras.layers.Embedding(*table.shape, dtype="float32")
    result = layer(ids)
    layer.set_weights([table])
    return result


def _position(layer: Position, inputs: Tensor) -> Tensor:
    """Keras has no layer that adds weights only: the kernel of ones changes nothing."""
    embedding = _array(layer.embedding)
    return _einsum("bpw,w->bpw", inputs, embedding.shape, np.ones(embedding.shape[1:], np.float32), embedding)


def _word_mean(layer: WordMean, ids: Tensor) -> Tensor:
    weights = ops.expand_dims(ops.cast(ops.not_equal(ids, 0), "float32"), -1)
    total = ops.sum(_embedded(ids, _array(layer.embeddings)) * weights, axis=1)
    return total / ops.maximum(ops.sum(weights, axis=1), 1.0)


def _weighted_sum(layer: WeightedSum, ids: Tensor, weights: Tensor | None = None) -> Tensor:
    is_feature = ops.cast(ops.not_equal(ids, 0), "float32")
    if weights is None:
        count = ops.sum(is_feature, axis=1, keepdims=True)
        weights = is_feature * ops.rsqrt(ops.maximum(count, 1.0))
    else:
        weights = ops.where(ops.not_equal(ids, 0), weights, ops.zeros_like(weights))
    sums = ops.sum(_embedded(ids, _array(layer.kernel)) * ops.expand_dims(weights, -1), axis=1)
    return (sums + _array(layer.bias)) * float(layer.scale)


# The layers of an ensemble have [members or 1, batch, ...]. Those of Keras need the batch first.


def _batch_first(inputs: Tensor, members: int) -> tuple[Tensor, str]:
    """Returns [batch, features] and "bf" if the members have the same inputs, else [batch, members, ...] and "bmf"."""
    if inputs.shape[0] == 1 and members > 1:
        return ops.squeeze(inputs, 0), "bf"
    return ops.transpose(inputs, (1, 0, 2)), "bmf"


def _members_first(outputs: Tensor) -> Tensor:
    return ops.transpose(outputs, (1, 0, 2))


def _member_dense(layer: MemberDense, inputs: Tensor) -> Tensor:
    inputs, axes = _batch_first(inputs, layer.members)
    kernel, bias = _array(layer.kernel) * np.float32(layer.rate), _array(layer.bias) * np.float32(layer.rate)
    shape = (layer.members, layer.units)
    return _members_first(_einsum(f"{axes},mfu->bmu", inputs, shape, kernel, bias[:, 0]))


def _member_scale(layer: MemberScale, inputs: Tensor) -> Tensor:
    inputs, axes = _batch_first(inputs, layer.members)
    scale = _array(layer.scale)[:, 0] * np.float32(SCALE_RATE)
    return _members_first(_einsum(f"{axes},mf->bmf", inputs, scale.shape, scale))


def _member_cosines(layer: MemberCosines, inputs: Tensor) -> Tensor:
    rate, units = np.float32(FREQUENCY_RATE), layer.units
    frequencies, phases = (_array(one)[:, :, 0] * rate for one in (layer.frequencies, layer.phases))
    angles = _einsum("bn,mnk->bmnk", inputs, frequencies.shape, frequencies, phases)
    kernel = _array(layer.kernel)  # [members, numbers, frequencies, units]
    shape = (layer.members, kernel.shape[1], units)
    embedded = _einsum("bmnk,mnku->bmnu", ops.cos(angles), shape, kernel, _array(layer.bias).reshape(shape))
    return _members_first(ops.reshape(embedded, (-1, layer.members, kernel.shape[1] * units)))


def _member_embedding(layer: MemberEmbedding, ids: Tensor) -> Tensor:
    rows = _embedded(ids, _array(layer.table) * np.float32(layer.rate))
    return _members_first(ops.reshape(rows, (-1, layer.members, layer.units)))


def _combine_members(layer: CombineMembers, outputs: Tensor) -> Tensor:
    return layer.combine(outputs, None)


REPLACEMENTS: dict[type[keras.layers.Layer], Callable[..., Tensor]] = {
    Position: _position,
    WordMean: _word_mean,
    WeightedSum: _weighted_sum,
    MemberDense: _member_dense,
    MemberScale: _member_scale,
    MemberCosines: _member_cosines,
    MemberEmbedding: _member_embedding,
    CombineMembers: _combine_members,
}
