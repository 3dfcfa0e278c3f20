"""Updates in one kernel: TensorFlow has Adam's and SGD's whole update as one operation, where Keras composes a dozen.

The slots are Keras' own, and the numbers are Keras' within rounding, so checkpoints are the same with and without.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

Update = Callable[[tf.Tensor, tf.Variable, tf.Tensor], None]  # gradient, variable, learning rate


def fuse(optimizer: keras.Optimizer) -> None:
    """Gives a Keras optimizer the fused update, where TensorFlow has one for it."""
    composed = optimizer.update_step
    if type(optimizer) in (keras.optimizers.Adam, keras.optimizers.AdamW) and not optimizer.amsgrad:
        fused = _adam(optimizer)
    elif type(optimizer) is keras.optimizers.SGD and optimizer.momentum:
        fused = _momentum(optimizer)
    else:
        return

    def update_step(gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        # An embedding's gradient names rows, and the kernels want all of them.
        (composed if isinstance(gradient, tf.IndexedSlices) else fused)(gradient, variable, learning_rate)

    optimizer.update_step = update_step


def _adam(optimizer: keras.optimizers.Adam) -> Update:
    def update(gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        number = optimizer._get_variable_index(variable)
        # Keras' own cast, which takes a Python number through float32: the powers have Keras' bits.
        done = tf.cast(optimizer.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=optimizer._momentums[number].value.handle,
            v=optimizer._velocities[number].value.handle,
            beta1_power=tf.pow(keras.ops.cast(optimizer.beta_1, variable.dtype), done),
            beta2_power=tf.pow(keras.ops.cast(optimizer.beta_2, variable.dtype), done),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=tf.constant(optimizer.beta_1, variable.dtype),
            beta2=tf.constant(optimizer.beta_2, variable.dtype),
            epsilon=tf.constant(optimizer.epsilon, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
        )

    return update


def _momentum(optimizer: keras.optimizers.SGD) -> Update:
    def update(gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=optimizer.momentums[optimizer._get_variable_index(variable)].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=keras.ops.cast(optimizer.momentum, variable.dtype),
            use_nesterov=optimizer.nesterov,
        )

    return update
