"""Fused optimizer updates: one operation per variable, where Keras uses a dozen.

Adam in float32 is a custom C++ operation, where these are available. Else TensorFlow's own operations for Adam and SGD
are used; for small variables, the separate operations are faster. Values that all variables share, such as the bias
correction, are computed once per update. In half precision, updates are Keras' own.

The slots are Keras' own, and the weights equal Keras' within rounding, so checkpoints are interchangeable.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfloop_cli.engine.kernels import native

# The number of elements in a variable from which the fused operation is faster. It divides its work among threads, and
# waking a thread takes longer than a dozen small operations.
MIN_FUSED_SIZE = 16_384
DTYPES = (tf.float32, tf.float64)
MAX_ROUNDING = 5e-7  # relative error of 1 - beta_1; 2.4e-7 for 0.9 in float32

Update = Callable[[tf.Tensor, tf.Variable, tf.Tensor], None]  # gradient, variable, learning rate
# Values that all variables share: Adam's bias-corrected rate, and the arguments of the fused operation.
Shared = tuple[tf.Tensor, dict[str, tf.Tensor]]


def fuse(optimizer: keras.Optimizer) -> None:
    """Replaces the update of a Keras optimizer in place if TensorFlow has a fused operation for it.

    These are Adam and AdamW without amsgrad, and SGD with momentum; subclasses keep their own update.
    """
    if type(optimizer) in (keras.optimizers.Adam, keras.optimizers.AdamW) and not optimizer.amsgrad:
        optimizer.update_step = _adam(optimizer)
    elif type(optimizer) is keras.optimizers.SGD and optimizer.momentum:
        optimizer.update_step = _momentum(optimizer)


def _adam(optimizer: keras.optimizers.Adam) -> Update:
    shared: dict[tf.DType, Shared] = {}
    apply, keras_update = optimizer.apply, optimizer.update_step
    constants = {"first": 1 - optimizer.beta_1, "second": 1 - optimizer.beta_2, "epsilon": optimizer.epsilon}

    def apply_with_new_shared_values(*arguments: Any, **keywords: Any) -> Any:
        shared.clear()
        return apply(*arguments, **keywords)

    optimizer.apply = apply_with_new_shared_values

    def shared_values(dtype: tf.DType, learning_rate: tf.Tensor) -> Shared:
        # Keras' own cast, which converts a Python number through float32: the powers are bitwise equal to Keras'.
        updates = tf.cast(optimizer.iterations + 1, dtype)
        beta1_power = tf.pow(keras.ops.cast(optimizer.beta_1, dtype), updates)
        beta2_power = tf.pow(keras.ops.cast(optimizer.beta_2, dtype), updates)
        learning_rate = tf.cast(learning_rate, dtype)
        return learning_rate * tf.sqrt(1 - beta2_power) / (1 - beta1_power), {
            "beta1_power": beta1_power,
            "beta2_power": beta2_power,
            "lr": learning_rate,
            "beta1": tf.constant(optimizer.beta_1, dtype),
            "beta2": tf.constant(1, dtype),
            "epsilon": tf.constant(optimizer.epsilon, dtype),
        }

    def update(gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        dtype = variable.dtype
        if dtype not in DTYPES:
            keras_update(gradient, variable, learning_rate)
            return
        index = optimizer._get_variable_index(variable)
        if dtype not in shared:
            shared[dtype] = shared_values(dtype, learning_rate)
        rate, arguments = shared[dtype]
        gradient = tf.cast(gradient, dtype)
        momentum, velocity = optimizer._momentums[index].value, optimizer._velocities[index].value
        if native.updates_adam(variable):
            native.adam(variable, (momentum, velocity), gradient, rate, constants)
            return
        if _is_large(variable) and _rounding_error(optimizer.beta_1, dtype) < MAX_ROUNDING:
            # The fused operation computes 1 - beta from a rounded beta, which is off by 1.3e-5 for 0.999. So the
            # velocity is updated before, and left as it is by beta2 = 1.
            tf.raw_ops.ResourceApplyGradientDescent(
                var=velocity.handle,
                alpha=tf.constant(1 - optimizer.beta_2, dtype),
                delta=velocity - tf.square(gradient),
            )
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle, m=momentum.handle, v=velocity.handle, grad=gradient, **arguments
            )
            return
        momentum.assign_add((gradient - momentum) * (1 - optimizer.beta_1))
        velocity.assign_add((tf.square(gradient) - velocity) * (1 - optimizer.beta_2))
        variable.assign_sub(momentum * rate / (tf.sqrt(velocity) + optimizer.epsilon))

    return update


def _momentum(optimizer: keras.optimizers.SGD) -> Update:
    keras_update = optimizer.update_step

    def update(gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        if variable.dtype not in DTYPES or not _is_large(variable):
            keras_update(gradient, variable, learning_rate)
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


def _is_large(variable: tf.Variable) -> bool:
    return variable.shape.num_elements() >= MIN_FUSED_SIZE


def _rounding_error(beta: float, dtype: tf.DType) -> float:
    """Returns the relative error of 1 - beta, computed from a rounded beta."""
    rounded = dtype.as_numpy_dtype
    return abs(float(rounded(1) - rounded(beta)) / (1 - beta) - 1)
