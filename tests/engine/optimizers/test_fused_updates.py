"""Fused optimizer updates equal Keras', weights and slots."""

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
SHAPES = [(MIN_FUSED_SIZE // 64, 64), (7, 3)]  # the first is fused, the second is too small


def train(name: str, dtype: str, fused: bool) -> tuple[list[np.ndarray], set[str]]:
    """Returns all variables after 50 updates, and the types of the operations of an update."""
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
    graph = update.get_concrete_function(tf.constant(0)).graph
    arrays = [variable.numpy() for variable in (*variables, *optimizer.variables)]
    return arrays, {operation.type for operation in graph.get_operations()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_and_slots_equal_keras(name: str, dtype: str) -> None:
    keras.config.set_floatx(dtype)  # of the slots
    fused, operations = train(name, dtype, fused=True)
    original, original_operations = train(name, dtype, fused=False)
    fused_operations = {"ResourceApplyAdam", "ResourceApplyKerasMomentum"}
    assert len(operations & fused_operations) == 1
    assert not original_operations & fused_operations
    for got, expected in zip(fused, original, strict=True):
        assert got.dtype == expected.dtype
        tolerance = 1e-9 if got.dtype == np.float64 else 2e-6
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def test_other_optimizers_are_unchanged() -> None:
    for optimizer in (keras.optimizers.RMSprop(), keras.optimizers.SGD(), keras.optimizers.Adam(amsgrad=True)):
        update_step = optimizer.update_step
        fuse(optimizer)
        assert optimizer.update_step == update_step
