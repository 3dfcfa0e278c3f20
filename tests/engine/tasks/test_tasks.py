"""What one batch means: losses and metrics against Keras' own, what a step trains, and what does not go together."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec, from_arrays
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, tasks

RANDOM = np.random.default_rng(0)
CLASSES = DataSpec((4,), "float32", (), tuple("abcdef"))
LOGITS = (RANDOM.standard_normal((20, 6)) * 3).astype(np.float32)
LABELS = RANDOM.integers(6, size=20).astype(np.int32)
ONE_HOT = np.eye(6, dtype=np.float32)[LABELS]


def measure(spec: DataSpec, targets: np.ndarray, outputs: np.ndarray, name: str, **arguments) -> dict[str, np.ndarray]:
    task = tasks.build(Component(name, arguments), spec)
    values = task.measure(tf.constant(targets), tf.constant(outputs))
    assert list(values) == list(task.metrics)
    assert {tuple(value.shape) for value in values.values()} == {(len(targets),)}
    return {key: value.numpy() for key, value in values.items()}


def close(got: np.ndarray, expected: object) -> None:
    np.testing.assert_allclose(got, np.asarray(expected), rtol=2e-5, atol=1e-6)


# Classification


def test_cross_entropy_is_keras_own() -> None:
    got = measure(CLASSES, LABELS, LOGITS, "classification")
    close(got["loss"], keras.losses.sparse_categorical_crossentropy(LABELS, LOGITS, from_logits=True))
    close(got["accuracy"], keras.metrics.sparse_categorical_accuracy(LABELS, LOGITS))
    assert 0 < got["accuracy"].mean() < 1


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_label_smoothing_is_keras_own(smoothing: float) -> None:
    got = measure(CLASSES, LABELS, LOGITS, "classification", label_smoothing=smoothing)["loss"]
    close(got, keras.losses.categorical_crossentropy(ONE_HOT, LOGITS, from_logits=True, label_smoothing=smoothing))


def test_focal_loss_is_keras_own_without_its_alpha() -> None:
    got = measure(CLASSES, LABELS, LOGITS, "classification", loss="focal")["loss"]
    close(got, keras.losses.categorical_focal_crossentropy(ONE_HOT, LOGITS, alpha=1.0, gamma=2.0, from_logits=True))


def test_focal_loss_hardly_counts_what_is_easy() -> None:
    easy, hard = [[10.0] + [0.0] * 5], [[0.0] + [10.0] + [0.0] * 4]
    logits, labels = np.array(easy + hard, np.float32), np.zeros(2, np.int32)
    got = measure(CLASSES, labels, logits, "classification", loss="focal")["loss"]
    plain = measure(CLASSES, labels, logits, "classification")["loss"]
    assert got[0] < plain[0] / 1e4
    np.testing.assert_allclose(got[1], plain[1], rtol=1e-3)


@pytest.mark.parametrize("k", [3, 5])
def test_top_k(k: int) -> None:
    got = measure(CLASSES, LABELS, LOGITS, "classification", metrics=[f"top_{k}_accuracy"])[f"top_{k}_accuracy"]
    close(got, keras.metrics.sparse_top_k_categorical_accuracy(LABELS, LOGITS, k))
    assert 0 < got.mean() < 1


def test_top_k_of_fewer_classes_than_k_is_always_right() -> None:
    spec = DataSpec((4,), "float32", (), ("a", "b"))
    got = measure(spec, LABELS % 2, LOGITS[:, :2], "classification", metrics=["top_3_accuracy"])["top_3_accuracy"]
    assert got.tolist() == [1.0] * 20


def test_the_first_metric_says_which_epoch_is_best() -> None:
    def monitor(**arguments) -> tuple[str, str]:
        return tasks.build(Component("classification", arguments), CLASSES).monitor

    assert monitor() == ("accuracy", "max")
    assert monitor(metrics=["top_3_accuracy", "accuracy"]) == ("top_3_accuracy", "max")
    assert monitor(metrics=[]) == ("loss", "min")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.int64, np.uint64])
def test_labels_of_any_integer_type(dtype: type) -> None:
    got = measure(CLASSES, LABELS.astype(dtype), LOGITS, "classification", metrics=["accuracy", "top_3_accuracy"])
    close(got["loss"], keras.losses.sparse_categorical_crossentropy(LABELS, LOGITS, from_logits=True))
    close(got["accuracy"], keras.metrics.sparse_categorical_accuracy(LABELS, LOGITS))


def test_labels_of_one_byte_train(trainer) -> None:
    """As IDX files have them."""
    dataset = from_arrays({"train": (RANDOM.random((40, 4), np.float32), RANDOM.integers(3, size=40).astype(np.uint8))})
    assert np.isfinite(trainer(dataset, epochs=1).fit()[0].train["loss"])


def test_half_precision_outputs_are_measured_in_float32() -> None:
    half = tf.cast(LOGITS, tf.bfloat16)
    task = tasks.build(Component("classification"), CLASSES)
    got = task.measure(tf.constant(LABELS), half)
    assert got["loss"].dtype == tf.float32
    close(got["loss"], task.measure(tf.constant(LABELS), tf.cast(half, tf.float32))["loss"])


def test_double_precision_outputs_keep_it() -> None:
    got = measure(CLASSES, LABELS, LOGITS.astype(np.float64), "classification")
    assert got["loss"].dtype == np.float64


# Regression


@pytest.mark.parametrize(
    ("target_shape", "outputs"), [((), (1,)), ((), ()), ((1,), (1,)), ((3,), (3,)), ((2, 3), (6,))]
)
@pytest.mark.parametrize("name", ["mean_squared_error", "mean_absolute_error", "huber"])
def test_regression_losses_are_means_over_an_examples_numbers(name: str, target_shape: tuple, outputs: tuple) -> None:
    spec = DataSpec((4,), "float32", target_shape)
    random = np.random.default_rng(1)
    targets = (random.standard_normal((7, *target_shape)) * 2).astype(np.float32)
    predicted = (random.standard_normal((7, *outputs)) * 2).astype(np.float32)
    got = measure(spec, targets, predicted, "regression", loss=name)
    error = np.abs(targets.reshape(7, -1) - predicted.reshape(7, -1))
    by_hand = {
        "mean_squared_error": error**2,
        "mean_absolute_error": error,
        "huber": np.where(error <= 1, error**2 / 2, error - 0.5),
    }
    close(got["loss"], by_hand[name].mean(axis=1))
    close(got["mean_absolute_error"], error.mean(axis=1))
    assert tasks.build(Component("regression"), spec).monitor == ("loss", "min")


def test_regression_of_whole_numbers() -> None:
    spec = DataSpec((4,), "float32", ())
    got = measure(spec, np.array([3, 4], np.int64), np.array([[2.0], [4.0]], np.float32), "regression")
    close(got["loss"], [1, 0])


@pytest.mark.parametrize("targets", [1, 3])
def test_regression_learns(trainer, targets: int) -> None:
    dataset = {"name": "synthetic", "shape": [5], "classes": 0, "targets": targets, "noise": 0.0, "train_examples": 256}
    run = trainer(dataset=dataset, task="regression", epochs=15, optimizer={"name": "adam", "learning_rate": 0.1})
    epochs = run.fit()
    assert epochs[-1].train["loss"] < 0.05 * epochs[0].train["loss"]


# The step


def test_a_step_trains_with_dropout_and_updates_the_averages_of_batch_norm(trainer) -> None:
    run = trainer(model={"name": "conv_net", "filters": [4], "batch_norm": True, "hidden": [8], "dropout": 0.5})
    before, batch = run.everything(), next(iter(run.data.batches(0, 1)))
    values = run.task.train_step(run.state, batch)
    after = run.everything()
    kept = {name for name in after if name.startswith("models/") and np.array_equal(before[name], after[name])}
    assert not kept  # Dropout's seeds and batch norm's averages are among them
    assert {"seed_generator_state", "moving_mean"} <= {variable.name for variable in run.state.model.variables}
    assert values["loss"].shape == (16,)


def test_a_step_returns_what_it_saw_before_the_update(trainer) -> None:
    run = trainer()
    batch = next(iter(run.data.batches(0, 1)))
    expected = run.task.eval_step(run.state, batch)["loss"].numpy()
    close(run.task.train_step(run.state, batch)["loss"].numpy(), expected)
    assert not np.allclose(run.task.eval_step(run.state, batch)["loss"].numpy(), expected)


def test_a_layers_own_loss_counts_in_the_gradient(trainer) -> None:
    def kernel(strength: float) -> np.ndarray:
        regularizer = keras.regularizers.L2(strength) if strength else None
        dense = keras.layers.Dense(3, kernel_initializer="ones", kernel_regularizer=regularizer)
        net = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), dense])
        run = trainer(net=net, optimizer={"name": "sgd", "learning_rate": 0.1})
        run.task.train_step(run.state, next(iter(run.data.batches(0, 1))))
        return run.weights()[0]

    # The gradient of 0.25 w^2 is 0.5 w, and w was 1.
    close(kernel(0.25), kernel(0.0) - 0.1 * 0.5)


def test_predictions_are_the_likeliest_classes(trainer) -> None:
    run = trainer()
    inputs, _ = next(iter(run.data.evaluation("test")))
    expected = np.argmax(run.state.model(inputs, training=False).numpy(), axis=1)
    assert run.task.predict(run.state, inputs).numpy().tolist() == expected.tolist()
    assert len(set(expected.tolist())) > 1


# What does not go together


def refused(make, said: str) -> None:
    with pytest.raises(TfloopError, match=said) as caught:
        make()
    assert caught.value.code == ExitCode.USAGE


def test_classification_needs_classes() -> None:
    refused(lambda: tasks.build(Component("classification"), DataSpec((4,), "float32", (2,))), "needs classes")


def test_regression_needs_numbers() -> None:
    refused(lambda: tasks.build(Component("regression"), CLASSES), "needs numbers")


def test_gan_needs_images() -> None:
    refused(lambda: tasks.build(Component("gan"), CLASSES), "needs images")


@pytest.mark.parametrize(("task", "model"), [("classification", "dcgan"), ("gan", "linear")])
def test_a_task_and_a_model_that_do_not_go_together(trainer, task: str, model: str) -> None:
    refused(lambda: trainer(task=task, model=model), f"task `{task}` trains .*`{model}` is")


class Own(keras.Model):
    """A subclass, whose output nobody knows before it is called."""

    def __init__(self, *lengths: int) -> None:
        super().__init__()
        self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(int(np.prod(lengths)))
        self.shape = keras.layers.Reshape(lengths)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.shape(self.dense(self.flatten(inputs)))


def layered(*lengths: int) -> keras.Model:
    layers = [keras.layers.Flatten(), keras.layers.Dense(int(np.prod(lengths))), keras.layers.Reshape(lengths)]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers])


NUMBERS = {"task": "regression", "dataset": {"name": "synthetic", "shape": [8, 8, 1], "classes": 0, "targets": 2}}


@pytest.mark.parametrize("make", [Own, layered])
@pytest.mark.parametrize(
    ("lengths", "changes", "said"),
    [
        ((7,), {}, r"model `linear` puts out 7 numbers for an example, and the task needs 3 \(one a class\)"),
        ((1, 3), {}, r"puts out an array of shape \(1, 3\) for an example, and the task needs 3 \(one a class\)"),
        ((1,), NUMBERS, r"puts out 1 numbers for an example, and the task needs 2 \(one a number of the target\)"),
    ],
)
def test_a_model_with_other_outputs_is_refused(trainer, make, lengths: tuple, changes: dict, said: str) -> None:
    refused(lambda: trainer(net=make(*lengths), **changes), said)


@pytest.mark.parametrize("make", [Own, layered])
def test_numbers_may_come_in_any_shape(trainer, make) -> None:
    trainer(net=make(1, 2), **NUMBERS, epochs=1).fit()


def test_a_model_that_tells_no_shape_is_taken(trainer) -> None:
    class Shy(Own):
        def compute_output_spec(self, *_: object, **__: object) -> None:
            raise NotImplementedError

    trainer(net=Shy(3), epochs=1).fit()


# GAN

GAN = {"model": {"name": "dcgan", "latent": 4, "width": 4}, "task": {"name": "gan", "sample_rows": 3}}


def trained_only(run, name: str) -> set[str]:
    """Which models' weights a step changes when the other's learning rate is 0."""
    for other, optimizer in run.state.optimizers.items():
        if other != name:
            optimizer.keras.learning_rate = 0.0
    before = {key: [weight.numpy() for weight in model.trainable_weights] for key, model in run.state.models.items()}
    run.task.train_step(run.state, next(iter(run.data.batches(0, 1))))
    return {
        key
        for key, model in run.state.models.items()
        if any(
            not np.array_equal(old, new.numpy()) for old, new in zip(before[key], model.trainable_weights, strict=True)
        )
    }


@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_each_optimizer_of_a_gan_trains_its_own_model(trainer, name: str) -> None:
    run = trainer(**GAN)
    assert {variable.path for variable in run.state.optimizers[name].keras._trainable_variables} == {
        variable.path for variable in run.state.models[name].trainable_variables
    }
    assert trained_only(run, name) == {name}


def test_each_models_gradient_is_of_its_own_loss(trainer) -> None:
    """The step's update, by hand: SGD makes it the gradient itself."""
    run = trainer(**GAN | {"model": GAN["model"] | {"dropout": 0.0}}, optimizer={"name": "sgd", "learning_rate": 1.0})
    generator, discriminator = run.state.models["generator"], run.state.models["discriminator"]
    images, _ = batch = next(iter(run.data.batches(0, 1)))
    noise = run.task.noise(run.state, images, run.state.step)
    with tf.GradientTape(persistent=True) as tape:
        fakes = generator(noise, training=True)
        real, fake = discriminator(images, training=True)[:, 0], discriminator(fakes, training=True)[:, 0]
        # -log sigmoid(x) is softplus(-x); the target of a real image is 0.9.
        judge = tf.reduce_mean(0.9 * tf.nn.softplus(-real) + 0.1 * tf.nn.softplus(real) + tf.nn.softplus(fake))
        maker = tf.reduce_mean(tf.nn.softplus(-fake))
    expected = {
        key: [
            weight.numpy() - tape.gradient(loss, weight).numpy()
            for weight in (weight.value for weight in model.trainable_weights)
        ]
        for key, model, loss in (("generator", generator, maker), ("discriminator", discriminator, judge))
    }
    values = run.task.train_step(run.state, batch)
    close(np.mean(values["discriminator_loss"]), judge)
    close(np.mean(values["generator_loss"]), maker)
    for key, model in run.state.models.items():
        for weight, value in zip(model.trainable_weights, expected[key], strict=True):
            np.testing.assert_allclose(weight.numpy(), value, rtol=1e-3, atol=1e-5)


def test_a_gan_trains_and_both_models_change(trainer) -> None:
    run = trainer(**GAN, epochs=3, validation=20)
    before = {key: model.get_weights() for key, model in run.state.models.items()}
    for epoch in run.fit():
        assert all(np.isfinite(list(epoch.train.values())))
        assert all(np.isfinite(list(epoch.validation.values())))
        assert 0 < epoch.train["real_score"] < 1
        assert 0 < epoch.train["fake_score"] < 1
        assert not epoch.best
    for key, model in run.state.models.items():
        for weight, old, new in zip(model.trainable_weights, before[key], model.get_weights(), strict=False):
            assert not np.array_equal(old, new), weight.path


def test_a_gans_samples(trainer) -> None:
    run = trainer(**GAN)
    first = run.task.samples(run.state)
    assert first.shape == (9, 8, 8, 1)
    assert first.min() >= 0
    assert first.max() <= 1
    assert first[0].std() > 0
    assert not np.array_equal(first[0], first[1])
    np.testing.assert_array_equal(first, run.task.samples(run.state))
    run.fit()
    assert not np.array_equal(first, run.task.samples(run.state))  # the same noise, and a generator that has learned


def test_a_gans_noise_is_another_at_each_step_and_each_batch_of_an_evaluation(trainer) -> None:
    run = trainer(**GAN)
    images = tf.zeros([5, 8, 8, 1])
    first = run.task.noise(run.state, images, tf.constant(0, tf.int64)).numpy()
    assert first.shape == (5, 4)
    np.testing.assert_array_equal(first, run.task.noise(run.state, images, tf.constant(0, tf.int64)).numpy())
    assert not np.allclose(first, run.task.noise(run.state, images, tf.constant(1, tf.int64)).numpy())
    scores = [run.task.eval_step(run.state, batch)["fake_score"].numpy() for batch in run.data.evaluation("train")]
    assert len({tuple(score) for score in scores}) == len(scores)
    again = [run.task.eval_step(run.state, batch)["fake_score"].numpy() for batch in run.data.evaluation("train")]
    for one, other in zip(scores, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_smoothing_pulls_the_target_of_real_images_below_one() -> None:
    spec = DataSpec((8, 8, 1), "float32")
    plain, smooth = (tasks.build(Component("gan", {"label_smoothing": share}), spec) for share in (0.0, 0.25))
    real, fake = tf.constant([[3.0]]), tf.constant([[-1.0]])
    difference = smooth.measure(real, fake)["discriminator_loss"] - plain.measure(real, fake)["discriminator_loss"]
    close(difference, [0.25 * 3.0])  # the cross entropy of a target t is softplus(x) - t x


def test_a_task_of_ones_own_may_return_its_metrics_in_any_order(trainer) -> None:
    run = trainer(epochs=1)

    class Swapped(type(run.task)):
        def measure(self, targets, outputs):
            return dict(reversed(super().measure(targets, outputs).items()))

    other = trainer(epochs=1)
    other.task = Swapped(other.task.loss, other.task.measures, other.task.monitor, other.task.classes)
    assert other.fit()[0].train == run.fit()[0].train


def test_an_unbuilt_model_of_ones_own_trains(trainer, configure) -> None:
    """The tutorial's way: a subclass of keras.Model makes its weights when it first sees data."""

    class MyModel(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(3)

        def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
            return self.dense(self.flatten(inputs))

    run = trainer(net=MyModel(), epochs=10, optimizer={"name": "adam", "learning_rate": 0.1})
    epochs = run.fit()
    assert epochs[-1].train["loss"] < epochs[0].train["loss"] / 2
