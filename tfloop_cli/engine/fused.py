"""Updates in one kernel: TensorFlow has Adam's and SGD's whole update as one operation, where Keras composes a dozen.

For small variables that dozen is faster, but what it computes for each of them alike is computed once.

The slots are Keras' own and the weights are Keras' within rounding, so checkpoints go from one to the other.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

# Numbers in a variable from which on one kernel pays: it divides its work among threads, and to wake one of them takes
# longer than a dozen small operations.
FUSED_FROM = 16_384

Update = Callable[[tf.Tensor, tf.Variable, tf.Tensor], None]  # gradient, variable, learning rate
# What is the same for all variables of an update: Adam's rate, corrected for both moments, and its kernel's arguments.
Shared = tuple[tf.Tensor, dict[str, tf.Tensor]]


def fuse(optimizer: keras.Optimizer) -> None:
    """Gives a Keras optimizer the fused update, where TensorFlow has one for it."""
    if type(optimizer) in (keras.optimizers.Adam, keras.optimizers.AdamW) and not optimizer.amsgrad:
        optimizer.update_step = _adam(optimizer)
    elif type(optimizer) is keras.optimizers.SGD and optimizer.momentum:
        optimizer.update_step = _momentum(optimizer)


def _adam(optimizer: keras.optimizers.Adam) -> Update:
    shared: dict[tf.DType, Shared] = {}
    apply = optimizer.apply

    def fresh_apply(*arguments: Any, **keywords: Any) -> Any:
        shared.clear()
        return apply(*arguments, **keywords)

    optimizer.apply = fresh_apply

    def scalars(dtype: tf.DType, learning_rate: tf.Tensor) -> Shared:
        # The kernel takes beta from 1 after rounding both: for 0.999 in float32 its moments come out 1.3e-5 too small.
        # That is one factor on each moment, so learning rate and epsilon can take it back.
        first, second = _kept(optimizer.beta_1, dtype), math.sqrt(_kept(optimizer.beta_2, dtype))
        # Keras' own cast, which takes a Python number through float32: the powers have Keras' bits.
        done = tf.cast(optimizer.iterations + 1, dtype)
        beta1_power = tf.pow(keras.ops.cast(optimizer.beta_1, dtype), done)
        beta2_power = tf.pow(keras.ops.cast(optimizer.beta_2, dtype), done)
        learning_rate = tf.cast(learning_rate, dtype)
        return learning_rate * tf.sqrt(1 - beta2_power) / (1 - beta1_power), {
            "beta1_power": beta1_power,
            "beta2_power": beta2_power,
            "lr": learning_rate * tf.constant(second / first, dtype),
            "beta1": tf.constant(optimizer.beta_1, dtype),
            "beta2": tf.constant(optimizer.beta_2, dtype),
            "epsilon": tf.constant(optimizer.epsilon * second, dtype),
        }

    def update(gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        number = optimizer._get_variable_index(variable)
        dtype = variable.dtype
        if dtype not in shared:
            shared[dtype] = scalars(dtype, learning_rate)
        rate, arguments = shared[dtype]
        gradient = tf.cast(gradient, dtype)
        first, second = optimizer._momentums[number].value, optimizer._velocities[number].value
        if variable.shape.num_elements() >= FUSED_FROM:
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle, m=first.handle, v=second.handle, grad=gradient, **arguments
            )
            return
        first.assign_add((gradient - first) * (1 - optimizer.beta_1))
        second.assign_add((tf.square(gradient) - second) * (1 - optimizer.beta_2))
        variable.assign_sub(first * rate / (tf.sqrt(second) + optimizer.epsilon))

    return update


def _kept(beta: float, dtype: tf.DType) -> float:
    """What rounding leaves of 1 - beta, as a factor."""
    rounded = dtype.as_numpy_dtype
    return float(rounded(1) - rounded(beta)) / (1 - beta)


def _momentum(optimizer: keras.optimizers.SGD) -> Update:
    own = optimizer.update_step

    def update(gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        if variable.shape.num_elements() < FUSED_FROM:
            own(gradient, variable, learning_rate)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=optimizer.momentums[optimizer._get_variable_index(variable)].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=keras.ops.cast(optimizer.momentum, variable.dtype),
            use_nesterov=optimizer.nesterov,
        )

    return update
