"""Guarantee: `fit` computes what an eager Keras training loop computes.

`tutorial_loop` is the loop of tensorflow.org's quickstart for experts: a tape, a loss, gradients, an optimizer and
metrics. It runs outside of `fast_kernels`, so it uses TensorFlow's own implementations.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

STEPS, EPOCHS, BATCH_SIZE = 100, 4, 16
EXAMPLES = STEPS // EPOCHS * BATCH_SIZE  # of the training split, if all batches are full

CASES = {
    "adam": {"optimizer": {"name": "adam", "learning_rate": 0.001}, "examples": EXAMPLES},
    "adam, clipped, smaller last batch": {
        "optimizer": {"name": "adam", "learning_rate": 0.003}, "clip_norm": 0.5, "examples": EXAMPLES - 7,
    },
    "adam, betas exact in float32": {
        "optimizer": {"name": "adam", "learning_rate": 0.001, "beta_1": 0.875, "beta_2": 1 - 2**-10},
        "examples": EXAMPLES,
    },
    "sgd with momentum, clipped, smaller last batch": {
        "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": True},
        "clip_norm": 0.5, "examples": EXAMPLES - 15,
    },
    "transformer": {
        "model": {"name": "vit", "patch_size": 7, "width": 16, "depth": 1, "heads": 2},
        "optimizer": {"name": "adam", "learning_rate": 0.003}, "examples": EXAMPLES,
    },
}  # fmt: skip


@dataclass
class Result:
    """The weights at the end of a training loop, and the metrics of its last epoch."""

    weights: list[np.ndarray]
    loss: float
    accuracy: float

    def distance(self, other: "Result") -> float:
        """Returns the largest absolute difference of any weight."""
        return max(float(np.abs(a - b).max()) for a, b in zip(self.weights, other.weights, strict=True))


@pytest.fixture(scope="module")
def mnist_examples(machine: None) -> tuple[np.ndarray, np.ndarray]:
    from tfloop_cli.engine.datasets.mnist import mnist

    test = mnist().splits["test"]
    return test.inputs[:EXAMPLES].numpy(), test.targets[:EXAMPLES].numpy()


@pytest.fixture
def make_run(trainer, mnist_examples):
    """Returns a function that creates the run of a case, with further changes to its config."""

    def make_run(case: str, precision: str, **changes: object):
        from tfloop_cli.engine.data import from_arrays

        config = {"model": {"name": "conv_net", "filters": [8]}} | CASES[case] | changes
        examples = config.pop("examples")
        images, labels = mnist_examples
        dataset = from_arrays({"train": (images[:examples], labels[:examples])}, class_names="0123456789")
        return trainer(dataset, epochs=EPOCHS, batch_size=BATCH_SIZE, precision=precision, **config)

    return make_run


def tutorial_loop(run, weights: list[np.ndarray], compiled: Callable = lambda function: function) -> Result:
    """Trains on the batches of `run` from these initial weights; `compiled` is tf.function, or nothing for eager."""
    import keras
    import tensorflow as tf

    from tfloop_cli.registry import models

    optimizer_class = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[run.config.optimizer.name]
    optimizer = optimizer_class(**run.config.optimizer.arguments, global_clipnorm=run.config.clip_norm)
    model = models.build(run.config.model, run.data.spec)
    model.set_weights(weights)
    loss_object = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    train_loss, train_accuracy = keras.metrics.Mean(), keras.metrics.SparseCategoricalAccuracy()
    optimizer.build(model.trainable_variables)

    @compiled
    def train_step(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            predictions = model(images, training=True)
            loss = loss_object(labels, predictions)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss, predictions

    for number, (images, labels) in enumerate(run.data.batches(0, STEPS)):
        loss, predictions = train_step(images, labels)
        if number >= STEPS - run.data.steps_per_epoch:  # the last epoch
            train_loss.update_state(loss, sample_weight=len(labels))  # the tutorial ignores that batches differ in size
            train_accuracy.update_state(labels, predictions)
    return Result(model.get_weights(), float(train_loss.result()), float(train_accuracy.result()))


def fit(run) -> Result:
    *_, last = run.fit()
    assert last.step == STEPS
    return Result(run.weights(), last.train["loss"], last.train["accuracy"])


@pytest.mark.parametrize("case", [case for case in CASES if "betas" not in case])
def test_float64_weights_equal_an_eager_loop(make_run, case: str) -> None:
    run = make_run(case, "float64")
    initial = run.weights()
    assert {weight.dtype for weight in initial} == {np.dtype("float64")}
    actual = fit(run)
    expected = tutorial_loop(run, initial)
    assert actual.distance(expected) < 1e-9
    assert actual.loss == pytest.approx(expected.loss, abs=1e-6)  # Keras sums its metrics in float32
    assert actual.accuracy == pytest.approx(expected.accuracy, abs=1e-6)
    assert max(float(np.abs(new - old).max()) for new, old in zip(actual.weights, initial, strict=True)) > 1e-2
    assert expected.accuracy > 0.5  # the model has learned


@pytest.mark.parametrize("case", CASES)
def test_float32_difference_is_that_between_eager_and_graph(make_run, case: str) -> None:
    import tensorflow as tf

    run = make_run(case, "float32", kernels="tensorflow")
    initial = run.weights()
    actual = fit(run)
    expected, graph = tutorial_loop(run, initial), tutorial_loop(run, initial, tf.function)
    # Gradients of biases are sums in another order than Keras', which is at least as exact: see test_exactness.py.
    assert actual.distance(expected) <= 10 * max(graph.distance(expected), 5e-7)
    assert actual.loss == pytest.approx(expected.loss, rel=1e-4)
    assert actual.accuracy == pytest.approx(expected.accuracy, abs=0.01)


@pytest.mark.parametrize("case", [case for case in CASES if case != "transformer"])
def test_native_kernels_are_as_exact_as_tensorflow(make_run, case: str) -> None:
    """They sum in another order than TensorFlow, so both are compared with float64."""
    from tfloop_cli.engine.kernels import native
    from tfloop_cli.engine.training.executor import suits_single_thread

    if reason := native.unavailable_reason():
        pytest.skip(reason)
    filters = {"model": {"name": "conv_net", "filters": [16]}}  # the C++ operations compute 16 filters at once
    run = make_run(case, "float32", kernels="native", **filters)
    initial = run.weights()
    assert suits_single_thread(run.state, use_native=True)  # the C++ operations support all layers
    actual = fit(run)
    expected = tutorial_loop(run, initial)
    float64_run = make_run(case, "float64", **filters)  # from now on, Keras creates models in float64
    exact = tutorial_loop(float64_run, [weight.astype("float64") for weight in initial])
    assert actual.distance(exact) <= 3 * max(expected.distance(exact), 1e-7)
    assert actual.loss == pytest.approx(expected.loss, rel=1e-4)
    assert actual.accuracy == pytest.approx(expected.accuracy, abs=0.01)
