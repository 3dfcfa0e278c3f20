"""Guarantee: several inputs, several outputs and weights of the examples are trained, evaluated and resumed exactly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.config.loading import to_mapping
from tfloop_cli.engine.checkpoints.storage import restore, write_checkpoint
from tfloop_cli.engine.data import Dataset, from_arrays
from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.engine.loop import TrainSteps
from tfloop_cli.engine.tasks import Batch, build_task
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, models, tasks
from tfloop_cli.runs.checkpoints import Checkpoint
from tfloop_cli.user_code import user_error

layers = keras.layers
RANDOM = np.random.default_rng(0)
COUNT = 40
LEFT, RIGHT = RANDOM.standard_normal((2, COUNT, 3)).astype(np.float32)
LABELS = (np.arange(COUNT) % 3).astype(np.int32)
WEIGHTS = RANDOM.uniform(0, 3, COUNT).astype(np.float32)
NAMED, ORDERED = {"left": LEFT, "right": RIGHT}, (LEFT, RIGHT)
SGD = {"batch_size": 15, "epochs": 2, "optimizer": {"name": "sgd", "learning_rate": 0.1}}


def dataset(inputs: Any, *others: Any) -> Dataset:
    return from_arrays({"train": (inputs, *others), "test": (inputs, *others)})


def functional(kind: Callable = dict, shapes: tuple = ((3,), (3,)), names: tuple = ("left", "right")) -> keras.Model:
    inputs = {name: keras.Input(shape, name=name) for name, shape in zip(names, shapes, strict=True)}
    last = zeros(layers.Dense(3))(layers.Concatenate()(list(inputs.values())))
    return keras.Model(inputs if kind is dict else kind(inputs.values()), last)


def zeros(layer: layers.Dense) -> layers.Dense:
    layer.kernel_initializer = keras.initializers.Zeros()
    return layer


class Subclass(keras.Model):
    """Takes a dict or a tuple; ends with a softmax."""

    def __init__(self, keys: tuple) -> None:
        super().__init__()
        self.keys, self.last = keys, zeros(layers.Dense(3, activation="softmax"))

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        first, second = (inputs[key] for key in self.keys)
        return self.last(tf.concat([first, second], axis=1))


class Pair(Subclass):
    def call(self, inputs: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        return self.last(inputs), inputs


@pytest.fixture(scope="module")
def one_input(trainer) -> list[np.ndarray]:
    """The weights after training on both inputs side by side, as one array."""
    model = keras.Sequential([keras.Input((6,)), zeros(layers.Dense(3))])
    run = trainer(dataset(np.concatenate(ORDERED, axis=1), LABELS), model, **SGD)
    run.fit()
    return run.weights()


@pytest.mark.parametrize(
    ("inputs", "model"),
    [(NAMED, functional), (NAMED, lambda: functional(list)), (ORDERED, lambda: functional(list)),
     (dict(reversed(NAMED.items())), functional), (NAMED, lambda: Subclass(("left", "right"))),
     (ORDERED, lambda: Subclass((0, 1)))],
    ids=["dict", "dict, list model", "tuple", "reversed", "subclass with dict", "subclass with tuple"],
)  # fmt: skip
def test_two_inputs_are_trained_like_their_concatenation(trainer, one_input, inputs: Any, model: Callable) -> None:
    run = trainer(dataset(inputs, LABELS), model(), **SGD)
    run.fit()
    for weight, expected in zip(run.weights(), one_input, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)
    found = Evaluator(run.state, run.data, run.task, run.config).run_with_predictions("test")
    assert found.labels.tolist() == LABELS.tolist()
    assert np.mean(found.predictions == LABELS) == pytest.approx(found.metrics["accuracy"])


# Weights of the examples


def keras_loss_and_gradients(task: str, targets: np.ndarray, model: keras.Model) -> tuple[float, list[np.ndarray]]:
    """Of one batch with all examples, by Keras' own training step."""
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=crossentropy if task == "classification" else "mean_squared_error")
    with tf.GradientTape() as tape:
        loss = model.compute_loss(LEFT, targets, model(LEFT, training=True), sample_weight=tf.constant(WEIGHTS))
    return float(loss), [one.numpy() for one in tape.gradient(loss, model.trainable_variables)]


@pytest.mark.parametrize("micro_batch_size", ["auto", 16])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_weighted_loss_and_gradient_equal_keras(trainer, task: str, micro_batch_size: int | str) -> None:
    targets = LABELS if task == "classification" else RIGHT
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
    loss, gradients = keras_loss_and_gradients(task, targets, model)
    before = model.get_weights()
    own = {"name": task} | ({"standardize": False} if task == "regression" else {})
    changes = {"task": own, "epochs": 1, "batch_size": COUNT, "optimizer": {"name": "sgd", "learning_rate": 1.0}}
    run = trainer(
        from_arrays({"train": (LEFT, targets, WEIGHTS), "test": (LEFT, targets)}), model,
        **changes, micro_batch_size=micro_batch_size,
    )  # fmt: skip
    values = Evaluator(run.state, run.data, run.task, run.config).run("train", stop=lambda: False).metrics
    unweighted = Evaluator(run.state, run.data, run.task, run.config).run("test", stop=lambda: False).metrics
    assert values["loss"] == pytest.approx(loss, rel=1e-5)
    assert unweighted["loss"] != pytest.approx(loss, rel=0.1)
    assert unweighted[run.task.metrics[1]] == values[run.task.metrics[1]]  # as `metrics` of Keras, not weighted
    assert run.fit()[0].train["loss"] == pytest.approx(loss, rel=1e-5)
    for weight, old, gradient in zip(run.weights(), before, gradients, strict=True):
        np.testing.assert_allclose(weight, old - gradient, rtol=1e-4, atol=1e-6)


# Several outputs, with a task of the user


class TwoOutputs:
    """Classes and numbers, each with a loss; keeps a running mean of the loss."""

    metrics, monitor = ("loss", "kind", "size"), ("loss", "min")

    def __init__(self) -> None:
        self.mean = tf.Variable(0.0, trainable=False)

    def train_step(self, state: Any, batch: Batch) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            values = self.losses(state, batch, training=True)
            loss = tf.reduce_mean(values["loss"])
        self.mean.assign(0.9 * self.mean + 0.1 * loss)
        variables = state.model.trainable_variables
        state.optimizer.apply(tape.gradient(loss, variables), variables, loss)
        return values

    def eval_step(self, state: Any, batch: Batch) -> dict[str, tf.Tensor]:
        return self.losses(state, batch, training=False)

    def losses(self, state: Any, batch: Batch, training: bool) -> dict[str, tf.Tensor]:
        inputs, targets, weights = batch
        outputs = state.model(inputs, training=training)
        kind = tf.nn.sparse_softmax_cross_entropy_with_logits(targets["kind"], outputs["kind"])
        size = tf.square(targets["size"] - outputs["size"][:, 0])
        return {"loss": weights * (kind + size), "kind": kind, "size": size}


@pytest.fixture
def make_run(trainer, monkeypatch) -> Callable[..., Any]:
    """Returns a function that creates a run with dict inputs and outputs, weights, dropout, and a task's variable."""

    def make(net: keras.Model | None = None, **changes: Any) -> Any:
        monkeypatch.setattr(tasks, "build", lambda component, spec: TwoOutputs())
        own = dataset(NAMED, {"kind": LABELS, "size": LEFT[:, 0]}, WEIGHTS)
        keras.utils.set_random_seed(1)
        inputs = {name: keras.Input(one.shape, name=name) for name, one in own.spec.inputs.items()}
        hidden = layers.Dropout(0.3, seed=1)(layers.Dense(8, "relu")(layers.Concatenate()(list(inputs.values()))))
        outputs = {name: layers.Dense(one.outputs)(hidden) for name, one in own.spec.targets.items()}
        settings = SGD | {"batch_size": 12, "validation": 8, "steps_per_execution": 1}
        return trainer(own, net or keras.Model(inputs, outputs), **settings | changes)

    return make


def results(run: Any) -> tuple[dict[str, bytes], list[tuple]]:
    epochs = [(epoch.epoch, epoch.train, epoch.validation) for epoch in run.fit()]
    return {name: array.tobytes() for name, array in run.everything().items()}, epochs


def test_run_with_dicts_weights_and_an_own_variable_is_resumed_exactly(make_run, tmp_path: Path) -> None:
    """It is stopped in its second epoch, of three steps."""
    everything, epochs = results(make_run())
    assert epochs[1][1]["loss"] < epochs[0][1]["loss"]
    stopped = make_run()
    stopped.fit_until(4)
    facts = {"config": to_mapping(stopped.config), "code": {}, "run_id": "", "total_steps": 1, **stopped.data.facts}
    saved = Checkpoint.open(write_checkpoint(tmp_path, stopped.state.snapshot(), facts))
    resumed = make_run()
    restore(saved, resumed.state, TrainSteps(resumed.state, resumed.data, resumed.task, resumed.config).trace)
    assert results(resumed) == (everything, epochs[1:])
    assert len(resumed.state.others) == 1
    found = Evaluator(resumed.state, resumed.data, resumed.task, resumed.config).run_with_predictions("test")
    assert (found.examples, found.labels, set(found.metrics)) == (COUNT, None, {"loss", "kind", "size"})


def test_micro_batches_of_dicts_and_weights_have_the_gradient_of_the_batch(make_run) -> None:
    runs = [make_run(epochs=1, model="linear", micro_batch_size=size) for size in ("auto", 5)]
    for run in runs:
        run.state.model.layers[-3].rate = 0.0
        run.fit()
    for weight, expected in zip(*(run.weights() for run in runs), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)


# Errors


def error_of(function: Callable) -> TfloopError:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        function()
    error = user_error(caught.value)
    assert error is not None, repr(caught.value)
    return error


@pytest.mark.parametrize(
    ("inputs", "model", "message"),
    [
        (NAMED, lambda: functional(names=("left", "rigth")),
         "has the inputs `left`, `rigth`, and the dataset has the inputs `left`, `right`"),
        (NAMED, lambda: functional(list, names=("a", "b")), "has the inputs `a`, `b`, and the dataset has the inputs"),
        (NAMED | {"middle": LEFT}, functional, "has the inputs `left`, `right`, and the dataset has the inputs `left`"),
        (ORDERED, functional, "has the inputs `left`, `right`, and the dataset has 2 inputs in order"),
        ((*ORDERED, LEFT), lambda: functional(list), "has 2 inputs in order, and the dataset has 3 inputs in order"),
        (LEFT, functional, "has the inputs `left`, `right`, and the dataset has one input"),
        (LEFT, lambda: functional(list), "has 2 inputs in order, and the dataset has one input"),
        (ORDERED, lambda: keras.Sequential([keras.Input((3,)), layers.Dense(3)]), "has one input, and the dataset"),
        (NAMED, lambda: functional(shapes=((3,), (4,))), "has the input `right` of shape (4,), and the dataset has"),
        (LEFT, lambda: keras.Sequential([keras.Input((5,)), layers.Dense(3)]), "has an input of shape (5,), and the"),
    ],
)  # fmt: skip
def test_model_with_other_inputs_than_the_data_is_an_error(trainer, inputs: Any, model: Callable, message: str) -> None:
    error = error_of(lambda: trainer(dataset(inputs, LABELS), model()))
    assert error.code == ExitCode.USAGE
    assert f"model `linear` {message}" in str(error)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Keras, which tries to build it
def test_subclass_that_misses_an_input_shows_those_of_the_data(trainer) -> None:
    error = error_of(lambda: trainer(dataset(NAMED, LABELS), Subclass(("left", "rigth"))))
    assert (error.code, error.problems[0].message) == (ExitCode.USER_CODE, "KeyError: 'rigth'")
    assert error.problems[0].hint.startswith("the dataset has the inputs `left`, `right`\nraised by user code")


def test_other_inputs_are_a_note_for_a_task_of_the_user(make_run) -> None:
    """The task may choose what it passes to the model."""
    (note,) = make_run(net=functional(names=("left", "rigth"))).state.notes
    assert "has the inputs `left`, `rigth`, and the dataset has the inputs `left`, `right`" in note


@pytest.mark.parametrize(
    "name", ["linear", "mlp", "conv_net", "resnet", "vit", "text_classifier", "text_linear", "dcgan"]
)
def test_built_in_model_for_one_input_names_the_inputs(machine, name: str) -> None:
    error = error_of(lambda: models.build(Component(name), dataset(NAMED, LABELS).spec))
    assert (error.code, "the dataset has several inputs, `left`, `right`" in str(error)) == (ExitCode.USAGE, True)


@pytest.mark.parametrize("name", ["classification", "regression", "gan"])
def test_built_in_task_for_one_target_and_output_names_them(machine, name: str) -> None:
    spec = dataset(NAMED, {"a": LABELS, "b": LABELS}).spec
    error = error_of(lambda: build_task(Component(name), spec))
    assert (error.code, "the dataset has several" in str(error)) == (ExitCode.USAGE, True)


@pytest.mark.parametrize("kind", ["functional", "subclass"])
def test_model_with_several_outputs_needs_a_task_of_the_user(trainer, kind: str) -> None:
    if kind == "functional":
        inputs = keras.Input((3,))
        model = keras.Model(inputs, {"a": layers.Dense(3)(inputs), "b": layers.Dense(3)(inputs)})
    else:
        model = Pair(())
    error = error_of(lambda: trainer(dataset(LEFT, LABELS), model))
    assert error.code == ExitCode.USAGE
    assert "model `linear` has several outputs, and this task is for one" in str(error)


def test_gan_does_not_ignore_weights(trainer) -> None:
    images = np.zeros((COUNT, 8, 8, 1), np.float32)
    own = dataset(images, LABELS, WEIGHTS)
    run = trainer(own, models.build(Component("dcgan", {"width": 2}), own.spec), task="gan")
    assert "task `gan` has no use for `sample_weight`" in str(error_of(run.fit))
