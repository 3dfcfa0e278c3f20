"""The promise: `fit` computes what the tutorial's loop computes.

`tutorial_loop` is that of tensorflow.org's quickstart for experts: a tape, a loss, gradients, an optimizer, metrics.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pytest

STEPS, EPOCHS, BATCH = 100, 4, 16
FULL = STEPS // EPOCHS * BATCH  # training examples

CASES = {
    "adam": {"optimizer": {"name": "adam", "learning_rate": 0.001}, "examples": FULL},
    "adam, clipped, a ragged last batch": {
        "optimizer": {"name": "adam", "learning_rate": 0.003}, "clip_norm": 0.5, "examples": FULL - 7,
    },
    "adam with betas that float32 holds": {
        "optimizer": {"name": "adam", "learning_rate": 0.001, "beta_1": 0.875, "beta_2": 1 - 2**-10}, "examples": FULL,
    },
    "sgd with momentum, clipped, a ragged last batch": {
        "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": True},
        "clip_norm": 0.5, "examples": FULL - 15,
    },
    "a transformer": {
        "model": {"name": "vit", "patch_size": 7, "width": 16, "depth": 1, "heads": 2},
        "optimizer": {"name": "adam", "learning_rate": 0.003}, "examples": FULL,
    },
}  # fmt: skip


@dataclass
class Trained:
    """What a loop ended with, and the means of its last epoch."""

    weights: list[np.ndarray]
    loss: float
    accuracy: float

    def distance(self, other: "Trained") -> float:
        """The largest difference of any weight."""
        return max(float(np.abs(a - b).max()) for a, b in zip(self.weights, other.weights, strict=True))


@pytest.fixture
def tensorflows_own():
    """Within it TensorFlow derives as it does by itself, not by our faster kernels."""
    from tfloop_cli.engine.kernels.patching import original_implementations

    kept = ExitStack()

    def own() -> None:
        kept.enter_context(original_implementations())

    with kept:
        yield own


@pytest.fixture(scope="module")
def digits(machine: None):
    """A slice of the real MNIST."""
    from tfloop_cli.engine.datasets.mnist import mnist

    test = mnist().splits["test"]
    return test.inputs[:FULL].numpy(), test.targets[:FULL].numpy()


def tutorial_loop(run, weights: list[np.ndarray], wrap: Callable) -> Trained:
    """The tutorial's loop on the run's batches, from the run's first weights; `wrap` is tf.function or nothing."""
    import keras
    import tensorflow as tf

    from tfloop_cli.registry import models

    arguments = dict(run.config.optimizer.arguments)
    make = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[run.config.optimizer.name]
    optimizer = make(**arguments, global_clipnorm=run.config.clip_norm)
    model = models.build(run.config.model, run.data.spec)
    model.set_weights(weights)
    loss_object = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    train_loss, train_accuracy = keras.metrics.Mean(), keras.metrics.SparseCategoricalAccuracy()
    optimizer.build(model.trainable_variables)

    @wrap
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
            train_loss.update_state(loss, sample_weight=len(labels))  # the tutorial forgets that batches differ in size
            train_accuracy.update_state(labels, predictions)
    return Trained(model.get_weights(), float(train_loss.result()), float(train_accuracy.result()))


def eager(function: Callable) -> Callable:
    return function


def make_run(trainer: Callable, digits: Iterable[np.ndarray], case: str, precision: str, **more: object):
    from tfloop_cli.engine.data import from_arrays

    changes = dict(CASES[case])
    examples = changes.pop("examples")
    images, labels = digits
    dataset = from_arrays({"train": (images[:examples], labels[:examples])}, class_names="0123456789")
    changes = {"model": {"name": "conv_net", "filters": [8]}} | changes | more
    return trainer(dataset, epochs=EPOCHS, batch_size=BATCH, precision=precision, **changes)


def ours(run) -> Trained:
    *_, last = run.fit()
    assert last.step == STEPS
    return Trained(run.weights(), last.train["loss"], last.train["accuracy"])


@pytest.mark.parametrize("case", [case for case in CASES if "betas" not in case])
def test_in_float64_the_weights_are_those_of_an_eager_loop(trainer, digits, tensorflows_own, case: str) -> None:
    run = make_run(trainer, digits, case, "float64")
    first = run.weights()
    assert {weight.dtype for weight in first} == {np.dtype("float64")}
    got = ours(run)
    tensorflows_own()
    expected = tutorial_loop(run, first, eager)
    assert got.distance(expected) < 1e-9
    assert got.loss == pytest.approx(expected.loss, abs=1e-6)  # Keras sums its metrics in float32
    assert got.accuracy == pytest.approx(expected.accuracy, abs=1e-6)
    assert max(float(np.abs(new - old).max()) for new, old in zip(got.weights, first, strict=True)) > 1e-2
    assert expected.accuracy > 0.5  # something was learned


@pytest.mark.parametrize("case", CASES)
def test_in_float32_they_differ_as_eager_and_graph_differ(trainer, digits, tensorflows_own, case: str) -> None:
    import tensorflow as tf

    run = make_run(trainer, digits, case, "float32", kernels="tensorflow")
    first = run.weights()
    got = ours(run)
    tensorflows_own()
    expected, graph = tutorial_loop(run, first, eager), tutorial_loop(run, first, tf.function)
    assert got.distance(expected) <= 10 * max(graph.distance(expected), 1e-7)
    assert got.loss == pytest.approx(expected.loss, rel=1e-4)
    assert got.accuracy == pytest.approx(expected.accuracy, abs=0.01)


@pytest.mark.parametrize("case", [case for case in CASES if case != "a transformer"])
def test_our_own_kernels_are_as_near_to_the_truth_as_tensorflows(trainer, digits, tensorflows_own, case: str) -> None:
    """They add up in another order than its own, eager or not: what counts is how far both are from float64."""
    from tfloop_cli.engine.kernels import native
    from tfloop_cli.engine.training.executor import suits_single_thread

    if reason := native.unavailable_reason():
        pytest.skip(reason)
    filters = {"model": {"name": "conv_net", "filters": [16]}}  # as many as they compute at once
    run = make_run(trainer, digits, case, "float32", kernels="native", **filters)
    first = run.weights()
    assert suits_single_thread(run.state)  # that is, all its layers are theirs
    got = ours(run)
    tensorflows_own()
    expected = tutorial_loop(run, first, eager)
    exact_run = make_run(trainer, digits, case, "float64", **filters)  # from here on, models are made in float64
    exact = tutorial_loop(exact_run, [weight.astype("float64") for weight in first], eager)
    assert got.distance(exact) <= 3 * max(expected.distance(exact), 1e-7)
    assert got.loss == pytest.approx(expected.loss, rel=1e-4)
    assert got.accuracy == pytest.approx(expected.accuracy, abs=0.01)
