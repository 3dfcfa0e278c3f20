"""Compares the inputs of a model with those of the data: by name for a dict, in order for a tuple."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.data.structures import Structure, is_several, map_structure, named_values, names_of
from tfloop_cli.errors import TfloopError
from tfloop_cli.user_code import original


def check_inputs(model: keras.Model, spec: DataSpec, name: str) -> None:
    """Compares names, number and shapes; the inputs of a subclass of keras.Model are unknown.

    Keras itself uses the sorted order if a name is missing or not used, with a warning only.

    Raises:
        TfloopError: the model has other inputs than the data (exit code 2).
    """
    inputs = model_inputs(model)
    if inputs is None:
        return
    named = isinstance(spec.inputs, Mapping)
    if named and not isinstance(inputs, Mapping):  # Keras finds them by name
        inputs = {one.name: one for one in inputs}
        fits = set(inputs) <= set(spec.inputs)
    else:
        ambiguous = isinstance(inputs, Mapping) and len(inputs) > 1
        given = [key for key, _ in named_values(spec.inputs)]
        fits = set(inputs) == set(given) if named else len(inputs) == len(given) and not ambiguous
    if not fits:
        raise TfloopError(
            f"model `{name}` has {_described(inputs)}, and the dataset has {_described(spec.inputs)}",
            hint="a dict of inputs is matched by the names of `keras.Input(shape, name=...)`, a tuple by the order of "
            "`keras.Model([first, second], ...)`; `spec.inputs` has the inputs of the dataset",
        )
    _check_shapes(inputs, spec, name)


def _check_shapes(inputs: Structure, spec: DataSpec, name: str) -> None:
    given = dict(named_values(spec.inputs))
    keys = inputs if isinstance(spec.inputs, Mapping) else given
    tensors = inputs.values() if isinstance(inputs, Mapping) else inputs
    for key, tensor in zip(keys, tensors, strict=True):
        shape, needed = given[key].shape, tensor.shape[1:]
        # Keras adds or removes a last axis of length 1.
        if len(shape) == len(needed) and not tf.TensorShape(shape).is_compatible_with(needed):
            raise TfloopError(
                f"model `{name}` has {f'the input `{key}`' if key else 'an input'} of shape {tuple(needed)}, and the "
                f"dataset has {shape}",
                hint="use `keras.Input(spec.input_shape)`, or `spec.inputs[...].shape` for one of several inputs",
            )


def model_inputs(model: keras.Model) -> Structure | None:
    """Returns the inputs of a functional or sequential model as a dict or a tuple of `KerasTensor`; else None."""
    inputs = getattr(model, "_inputs_struct", None)
    if inputs is None and isinstance(model, keras.Sequential):
        inputs = getattr(model, "inputs", None)
    if inputs is None:
        return None
    inputs = inputs if isinstance(inputs, Mapping | list | tuple) else (inputs,)
    values = inputs.values() if isinstance(inputs, Mapping) else inputs
    if not all(isinstance(one, keras.KerasTensor) for one in values):  # deeper structures
        return None
    return inputs if isinstance(inputs, Mapping) else tuple(inputs)


def build_weights(model: keras.Model, spec: DataSpec) -> None:
    """Calls a subclass once, so that it creates its weights; an error gets a note with the names of the inputs."""

    def zeros(one: tf.TensorSpec) -> tf.Tensor:
        return tf.zeros([1, *(1 if length is None else length for length in one.shape[1:])], one.dtype)

    try:
        model(map_structure(zeros, spec.input_signature()), training=False)
    except Exception as error:
        if is_several(spec.inputs):
            original(error).add_note(f"the dataset has {_described(spec.inputs)}")
        raise


def _described(inputs: Structure) -> str:
    values = named_values(inputs)
    if isinstance(inputs, Mapping):
        return f"the input{'s' if len(values) > 1 else ''} {names_of(inputs)}"
    return f"{len(values)} inputs in order" if len(values) > 1 else "one input"
