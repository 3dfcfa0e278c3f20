"""Recognizes a classifier that ends with a softmax or a sigmoid, and finds the logits below it.

Keras' losses do the same: cross entropy of logits is exact where that of probabilities, which round to 0 and 1, is not.
"""

from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec
from tfloop_cli.engine.data.structures import map_structure

Head = Literal["softmax", "sigmoid"]

HEADS: dict[str, Head] = {"Softmax": "softmax", "Sigmoid": "sigmoid"}  # by the type of TensorFlow's operation
PASSING = {"Identity", "Cast", "Reshape", "Squeeze", "ExpandDims"}  # operations that keep the values
CALLS = {"PartitionedCall", "StatefulPartitionedCall"}  # of a `tf.function` in the user's code
EXAMPLES = 8  # on which outputs are tested


def find_head(model: keras.Model, spec: DataSpec) -> Head | None:
    """Returns what a classifier's outputs are: None for logits.

    The last operation of the model decides, be it an activation, a layer or a call in a subclass. A softmax that
    is written out is recognized by its values: they are at least 0, and those of each example sum to 1.
    """
    if _ends_with_logits(model):
        return None
    traceable = tf.function(lambda batch: model(batch, training=False), autograph=False)
    try:
        traced = traceable.get_concrete_function(spec.input_signature())
    except Exception:  # of the user's code; training will raise it with a better message
        return None
    if len(traced.outputs) != 1:
        return None
    operation = _producer(traced.outputs[0], into_calls=True)
    if operation.type in HEADS:
        return HEADS[operation.type]
    return "softmax" if _sums_to_one(traced, model, spec) else None


def logits_of(outputs: tf.Tensor, head: Head, classes: int) -> tf.Tensor:
    """Returns logits, float [batch, classes], whose softmax is what a model's outputs stand for.

    Args:
        outputs: probabilities, float [batch, classes]; with one sigmoid for two classes, [batch, 1] or [batch].
        head: what the model ends with.
        classes: the number of classes.
    """
    operation = None if tf.executing_eagerly() else _producer(outputs)
    found = operation is not None and HEADS.get(operation.type) == head
    values = operation.inputs[0] if found else outputs
    values = tf.cast(values, tf.float64 if values.dtype == tf.float64 else tf.float32)
    one_for_two = classes == 2 and (outputs.shape.rank == 1 or outputs.shape[-1] == 1)
    values = tf.reshape(values, [-1, 1 if one_for_two else classes])
    if not found:
        smallest = keras.config.epsilon()
        log = tf.math.log(tf.clip_by_value(values, smallest, 1.0))
        if one_for_two:
            return tf.concat([tf.math.log(tf.clip_by_value(1.0 - values, smallest, 1.0)), log], axis=1)
        return log
    if head == "softmax":
        return values
    if one_for_two:  # the outputs are probabilities of the second class
        return tf.concat([tf.zeros_like(values), values], axis=1)
    return tf.math.log_sigmoid(values)  # one probability per class; Keras divides them by their sum, and so do we


def _ends_with_logits(model: keras.Model) -> bool:
    """Whether Keras' own description of a model shows that no trace is needed."""
    outputs = getattr(model, "outputs", None)
    if not isinstance(outputs, list) or len(outputs) != 1:
        return False
    layer = outputs[0]._keras_history.operation
    return isinstance(layer, keras.layers.Dense) and layer.activation is keras.activations.linear


def _producer(tensor: tf.Tensor, *, into_calls: bool = False) -> tf.Operation:
    """Returns the operation that computes the values of a tensor of a graph."""
    while True:
        operation = tensor.op
        if operation.type in PASSING:
            tensor = operation.inputs[0]
        elif into_calls and operation.type in CALLS:
            name = operation.get_attr("f").name
            tensor = operation.graph._get_function(name).graph.outputs[operation.outputs.index(tensor)]
        else:
            return operation


def _sums_to_one(traced: tf.types.experimental.ConcreteFunction, model: keras.Model, spec: DataSpec) -> bool:
    random = np.random.default_rng(0)

    def draw(one: tf.TensorSpec) -> tf.Tensor:
        shape = [EXAMPLES, *(8 if length is None else length for length in one.shape[1:])]
        if one.dtype.is_integer:
            return tf.constant(random.integers(spec.vocabulary > 1, max(spec.vocabulary, 2), shape), one.dtype)
        return tf.constant(random.standard_normal(shape), one.dtype)

    inputs = map_structure(draw, spec.input_signature())
    state = [(variable, variable.numpy()) for variable in model.non_trainable_variables]  # seeds among them
    outputs = tf.cast(traced(inputs), tf.float64).numpy().reshape(EXAMPLES, -1)
    for variable, value in state:
        variable.assign(value)
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=0.02) and outputs.shape[1] > 1)
