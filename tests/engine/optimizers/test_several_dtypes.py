"""Weights of several dtypes in one model are trained as by an eager Keras loop."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.optimizers.fused import MIN_FUSED_SIZE, fuse
from tfloop_cli.engine.optimizers.run_optimizer import RunOptimizer
from tfloop_cli.registry import Component, optimizers

UPDATES = 3
DTYPES = ["float32", "bfloat16", "float16", "float64"]
CASES = [
    *((name, {"global_clipnorm": 0.1}) for name in sorted(optimizers.names())),
    ("sgd", {}), ("lion", {}), ("adam", {"clipnorm": 0.1}), ("sgd", {"clipvalue": 0.1}),
]  # fmt: skip


def normal(seed: int, shape: tuple[int, ...], dtype: str) -> tf.Tensor:
    return tf.cast(np.random.default_rng(seed).normal(size=shape), dtype)


@pytest.mark.parametrize(("name", "clipping"), CASES, ids=str)
def test_update_equals_keras(name: str, clipping: dict[str, float]) -> None:
    dtypes = DTYPES[:3] if name == "muon" else DTYPES  # Keras' Muon fails with float64
    widest = "float32" if name == "muon" else "float64"
    shapes = [(5, 3)] * len(dtypes) + [(MIN_FUSED_SIZE // 128, 128)] * ("adam" in name or name == "sgd")

    def variables() -> list[keras.Variable]:
        return [
            keras.Variable(normal(7, shape, dtype), dtype=dtype)
            for shape, dtype in zip(shapes, [*dtypes, "bfloat16"][: len(shapes)], strict=True)
        ]

    def optimizer() -> keras.Optimizer:
        built = optimizers.build(Component(name, {}))
        vars(built).update(clipping)
        return built

    fast, original, run, plain = variables(), variables(), optimizer(), optimizer()
    fuse(run)
    sums = tf.Variable(0.0, dtype="float64"), tf.Variable(0.0, dtype="float64")
    wrapped = RunOptimizer(run, fast, *sums, ema_decay=None)
    plain.build(original)
    apply = tf.function(lambda *gradients: wrapped.apply(gradients, fast, tf.constant(1.0)))
    for update in range(UPDATES):
        gradients = [normal(update, variable.shape, variable.dtype) for variable in fast]
        apply(*gradients)
        if "global_clipnorm" in clipping:  # Keras' own fails with several dtypes
            gradients = [tf.cast(gradient, widest) for gradient in gradients]
        plain.apply(gradients, original)
    for got, expected in zip([*fast, *run.variables], [*original, *plain.variables], strict=True):
        rounding = {"float16": 2**-10, "bfloat16": 2**-7}.get(got.dtype, 1e-6)
        arrays = (np.asarray(variable.numpy(), "float64") for variable in (got, expected))
        np.testing.assert_allclose(*arrays, rtol=4 * rounding, atol=2e-5, err_msg=got.path)


def make_model() -> keras.Model:
    layers = keras.layers
    keras.utils.set_random_seed(0)
    return keras.Sequential([
        keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(16, "tanh", dtype="bfloat16"),
        layers.Dense(8, "tanh", dtype="float64", kernel_regularizer="l2"), layers.Dense(3, dtype="float64"),
    ])  # fmt: skip


def eager_loop(run, weights: list[np.ndarray], optimizer: keras.Optimizer) -> tuple[keras.Model, list[np.ndarray]]:
    """Returns the trained model, and the EMA of its weights with decay 0.9."""
    model = make_model()
    model.set_weights(weights)
    variables = model.trainable_variables
    averages = [np.asarray(variable.numpy(), "float64") for variable in variables]
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer.build(variables)
    batches = run.data.batches(0, run.config.epochs * run.data.steps_per_epoch)
    for step, (images, labels) in enumerate(batches):
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(images, training=True))
            loss = optimizer.scale_loss(loss + tf.cast(model.losses[0], loss.dtype))
        optimizer.apply(tape.gradient(loss, variables), variables)
        decay = min(0.9, (1 + step) / (10 + step))
        new = [np.asarray(variable.numpy(), "float64") for variable in variables]
        averages = [decay * a + (1 - decay) * one for a, one in zip(averages, new, strict=True)]
    return model, averages


@pytest.mark.parametrize(
    "options", [{"micro_batch_size": 5}, {"precision": "float16"}, {"ema_decay": 0.9, "clip_norm": 100.0}], ids=str
)
def test_run_equals_eager_loop(trainer, options: dict[str, object]) -> None:
    run = trainer(net=make_model(), optimizer={"name": "sgd", "learning_rate": 0.1}, **options)
    weights = run.weights()
    run.fit()
    optimizer = keras.optimizers.SGD(0.1)
    if "precision" in options:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**15)
    model, averages = eager_loop(run, weights, optimizer)
    expected = [np.asarray(variable.numpy(), "float64") for variable in model.trainable_variables]
    got = [np.asarray(variable.numpy(), "float64") for variable in run.state.trainable_variables()]
    for one, other, initial in zip(got, expected, weights, strict=True):
        assert np.abs(one - other).max() <= 0.02 * np.abs(np.asarray(initial, "float64") - other).max() + 2**-8
    expected = averages if "ema_decay" in options else expected
    with run.state.use_ema_weights():
        for variable, average in zip(run.state.trainable_variables(), expected, strict=True):
            np.testing.assert_allclose(np.asarray(variable.numpy(), "float64"), average, atol=0.01)


def test_ema_of_bfloat16_weights_moves(trainer) -> None:
    """In bfloat16, a change of less than 1/512 would be lost: the average would stay the initial weight."""
    run = trainer(net=make_model(), ema_decay=0.999)
    (ema, *_), (kernel, *_) = run.state.optimizer.ema, run.state.trainable_variables()
    before = ema.numpy()
    run.state.optimizer.inner.iterations.assign(100_000)  # after the warm-up
    kernel.assign(kernel.value * 1.25)
    gradients = [tf.zeros_like(variable.value) for variable in run.state.trainable_variables()]
    run.state.optimizer.apply(gradients, run.state.trainable_variables(), tf.constant(1.0))
    np.testing.assert_allclose(ema.numpy(), before * 1.00025, rtol=1e-5)


def test_bfloat16_weights_with_adam_stay_finite(trainer) -> None:
    layers = keras.layers
    net = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(256, dtype="bfloat16"), layers.Dense(3)]
    )
    run = trainer(net=net, optimizer="adam")
    run.fit()
    assert run.state.skipped_steps.numpy()[0] == 0
