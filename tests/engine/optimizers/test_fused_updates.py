"""Updates in one kernel: Keras' numbers, in Keras' slots."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.optimizers.fused import MIN_FUSED_SIZE, fuse

OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adam, clipped": lambda: keras.optimizers.Adam(0.01, beta_1=0.5, global_clipnorm=0.1),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "sgd, momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    "sgd, nesterov": lambda: keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
}
SHAPES = [(MIN_FUSED_SIZE // 64, 64), (7, 3)]  # one that is fused, one that is too small


def trained(name: str, dtype: str, fused: bool) -> tuple[list[np.ndarray], set[str]]:
    """All variables after 50 updates, and the operations of one."""
    random = np.random.default_rng(0)
    variables = [keras.Variable(random.normal(size=shape).astype(dtype)) for shape in SHAPES]
    gradients = [tf.constant(random.normal(size=(50, *shape)), dtype) for shape in SHAPES]
    optimizer = OPTIMIZERS[name]()
    optimizer.build(variables)
    if fused:
        fuse(optimizer)

    @tf.function
    def update(step: tf.Tensor) -> None:
        optimizer.apply([gradient[step] for gradient in gradients], variables)

    for step in range(50):
        update(tf.constant(step))
    operations = {operation.type for operation in update.get_concrete_function(tf.constant(0)).graph.get_operations()}
    return [variable.numpy() for variable in (*variables, *optimizer.variables)], operations


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_and_slots_are_keras_own(machine: None, name: str, dtype: str) -> None:
    keras.config.set_floatx(dtype)  # of the slots
    (ours, operations), (theirs, plain) = trained(name, dtype, fused=True), trained(name, dtype, fused=False)
    kernels = {"ResourceApplyAdam", "ResourceApplyKerasMomentum"}
    assert len(operations & kernels) == 1
    assert not plain & kernels
    for got, expected in zip(ours, theirs, strict=True):
        assert got.dtype == expected.dtype
        tolerance = 1e-9 if got.dtype == np.float64 else 2e-5
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def test_what_has_no_kernel_stays_as_it_is(machine: None) -> None:
    for optimizer in (keras.optimizers.RMSprop(), keras.optimizers.SGD(), keras.optimizers.Adam(amsgrad=True)):
        own = optimizer.update_step
        fuse(optimizer)
        assert optimizer.update_step == own
