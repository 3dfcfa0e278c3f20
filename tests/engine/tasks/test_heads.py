"""Classifiers that end with a softmax or a sigmoid, and models with their own parts for Keras' `fit`."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import from_arrays
from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.errors import TfloopError

layers = keras.layers
RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.standard_normal((40, 4)).astype(np.float32)


def dataset(classes: int):
    labels = (np.arange(40) % classes).astype(np.int32)
    inputs = INPUTS + labels[:, None]
    return from_arrays({"train": (inputs, labels), "test": (inputs, labels)})


class Called(keras.Model):
    """A subclass that ends with any function of its dense layer's outputs."""

    def __init__(self, function: Callable, units: int) -> None:
        super().__init__()
        self.dense, self.function = layers.Dense(units), function

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.function(self.dense(inputs))


def written_out(logits: tf.Tensor) -> tf.Tensor:
    exponentials = tf.exp(logits - tf.reduce_max(logits, axis=-1, keepdims=True))
    return exponentials / tf.reduce_sum(exponentials, axis=-1, keepdims=True)


def sequential(*last: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), *last])


def functional(function: Callable, units: int) -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, function(layers.Dense(units)(inputs)))


HEADS = {
    "dense": lambda: sequential(layers.Dense(3, activation="softmax")),
    "activation": lambda: sequential(layers.Dense(3), layers.Activation("softmax", dtype="float32")),
    "layer": lambda: sequential(layers.Dense(3), layers.Softmax()),
    "operation": lambda: functional(keras.ops.softmax, 3),
    "nested": lambda: sequential(sequential(layers.Dense(3, activation="softmax"))),
    "subclass": lambda: Called(tf.nn.softmax, 3),
    "tf.function": lambda: Called(tf.function(tf.nn.softmax), 3),
    "written out": lambda: Called(written_out, 3),
}


def with_same_weights(model: keras.Model) -> keras.Model:
    for weight, value in zip(model.weights, weights_of(model), strict=True):
        weight.assign(value)
    return model


def weights_of(model: keras.Model) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.standard_normal(weight.shape).astype(np.float32) / 2 for weight in model.weights]


def trained(trainer, model: keras.Model, classes: int = 3, **changes: object):
    run = trainer(dataset(classes), model, batch_size=10, optimizer={"name": "sgd", "learning_rate": 0.5}, **changes)
    with_same_weights(model)
    return run, run.fit()[-1].train


@pytest.mark.parametrize("head", HEADS)
def test_softmax_is_trained_like_its_logits(trainer, head: str) -> None:
    run, metrics = trained(trainer, HEADS[head]())
    logits, expected = trained(trainer, sequential(layers.Dense(3)))
    assert run.state.notes == ["model `linear` ends with a softmax: its outputs are trained as probabilities"]
    assert logits.state.notes == []
    assert metrics == pytest.approx(expected, rel=1e-5)
    for weight, other in zip(run.weights(), logits.weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", [{"precision": "bfloat16"}, {"precision": "float64"}, {"micro_batch_size": 3}])
def test_softmax_is_recognized_with(trainer, changes: dict) -> None:
    run, metrics = trained(trainer, HEADS["dense"](), **changes) if "precision" not in changes else (None, None)
    if run is None:
        trainer(**changes)  # sets the policy before the model is built
        run, metrics = trained(trainer, HEADS["dense"](), **changes)
    assert run.task.head == "softmax"
    assert metrics["loss"] < 1.0


def test_loss_of_saturated_probabilities_is_exact(trainer) -> None:
    """As in Keras, which takes the logits below a softmax; log(0) would give 16.1, its clipping."""
    model = sequential(layers.Dense(3, activation="softmax"))
    run = trainer(dataset(3), model)
    model.set_weights([np.zeros((4, 3), np.float32), np.array([300, 0, 0], np.float32)])
    batch = tf.constant(INPUTS[:2]), tf.constant([1, 2])
    values = tf.function(lambda: run.task.eval_step(run.state, batch))()
    assert values["loss"].numpy().tolist() == [300, 300]


@pytest.mark.parametrize("model", [lambda: sequential(layers.Dense(1, activation="sigmoid")),
                                   lambda: sequential(layers.Dense(1, activation="sigmoid"), layers.Reshape(())),
                                   lambda: Called(tf.sigmoid, 1)])  # fmt: skip
def test_one_sigmoid_serves_two_classes(trainer, model: Callable) -> None:
    run, _ = trained(trainer, model(), classes=2)
    (note,) = run.state.notes
    assert note == "model `linear` ends with a sigmoid: its outputs are trained as probabilities of the second class"
    found = Evaluator(run.state, run.data, run.task, run.config).run_with_predictions("test")
    probabilities = run.state.model(run.data._splits["test"][0].inputs).numpy().reshape(-1)
    labels = np.arange(40) % 2
    expected = keras.losses.binary_crossentropy(labels[:, None].astype(np.float32), probabilities[:, None])
    np.testing.assert_allclose(found.values["loss"], expected, rtol=1e-4)
    assert found.predictions.tolist() == (probabilities > 0.5).astype(int).tolist()
    assert found.metrics["accuracy"] == np.mean((probabilities > 0.5) == labels) > 0.7


def test_sigmoids_of_several_classes_are_as_in_keras(trainer) -> None:
    run, _ = trained(trainer, sequential(layers.Dense(3, activation="sigmoid")))
    found = Evaluator(run.state, run.data, run.task, run.config).run_with_predictions("test")
    probabilities = run.state.model(run.data._splits["test"][0].inputs).numpy()
    labels = np.arange(40) % 3
    expected = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
    np.testing.assert_allclose(found.values["loss"], expected, rtol=1e-4)
    assert found.predictions.tolist() == probabilities.argmax(axis=1).tolist()


@pytest.mark.parametrize("options", [{"loss": "focal"}, {"label_smoothing": 0.2}])
def test_other_losses_of_a_softmax_equal_those_of_its_logits(trainer, options: dict) -> None:
    task = {"name": "classification", **options}
    _, metrics = trained(trainer, HEADS["dense"](), task=task)
    _, expected = trained(trainer, sequential(layers.Dense(3)), task=task)
    assert metrics == pytest.approx(expected, rel=1e-5)


def test_one_logit_for_two_classes_is_refused_with_the_sigmoid(trainer) -> None:
    with pytest.raises(TfloopError, match="has 1 output per example, and the task needs 2") as caught:
        trainer(dataset(2), sequential(layers.Dense(1)))
    assert "one unit with `activation='sigmoid'`" in str(caught.value)


@pytest.mark.parametrize(
    "last", [layers.ReLU, lambda: layers.Activation("tanh"), lambda: layers.Activation("log_softmax")]
)
def test_other_last_layers_are_logits(trainer, last: Callable) -> None:
    run = trainer(dataset(3), sequential(layers.Dense(3), last()))
    assert (run.task.head, run.state.notes) == (None, [])


def test_recognizing_a_head_leaves_seeds_unchanged(trainer) -> None:
    def noisy(logits: tf.Tensor) -> tf.Tensor:
        return written_out(logits + keras.random.normal(tf.shape(logits), seed=noise))

    noise = keras.random.SeedGenerator(7)
    model = Called(noisy, 3)
    model.noise = noise
    before = noise.state.numpy().tolist()
    run = trainer(dataset(3), model)
    assert run.task.head == "softmax"
    first_call = 1  # `create_state` builds a subclass by calling it
    assert noise.state.numpy().tolist()[1] - before[1] in (0, first_call)


class OwnStep(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.dense(inputs)

    def train_step(self, data: object) -> dict:
        return {}

    def compute_loss(self, *arguments: object, **options: object) -> None:
        return None


def test_own_steps_and_compile_of_a_model_are_named(trainer) -> None:
    assert trainer(dataset(3), OwnStep()).state.notes == [
        "not used, since the task trains the model `model`: its own `train_step`, own `compute_loss`"
    ]
    compiled = sequential(layers.Dense(3))
    compiled.compile("sgd", "mse")
    assert trainer(dataset(3), compiled).state.notes == [
        "not used, since the task trains the model `model`: its `compile(...)`"
    ]
