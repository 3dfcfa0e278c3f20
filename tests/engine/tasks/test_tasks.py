"""Tasks: losses and metrics compared with Keras, training steps, errors for unsuitable data and models, and GANs."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import DataSpec, from_arrays
from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import Component, tasks

RANDOM = np.random.default_rng(0)
CLASSES = DataSpec((4,), "float32", (), tuple("abcdef"))
LOGITS = (RANDOM.standard_normal((20, 6)) * 3).astype(np.float32)
LABELS = RANDOM.integers(6, size=20).astype(np.int32)
ONE_HOT = np.eye(6, dtype=np.float32)[LABELS]


def measure(name: str, spec: DataSpec, targets: np.ndarray, outputs: np.ndarray, **arguments) -> dict[str, np.ndarray]:
    """Returns the metrics of a task for each example; asserts that they are those of `task.metrics`, in order."""
    task = tasks.build(Component(name, arguments), spec)
    values = task.compute_metrics(tf.constant(targets), tf.constant(outputs))
    assert list(values) == list(task.metrics)
    vectors = {key: (len(targets), one.size) for key, one in task.sum_metrics.items()}
    assert {key: tuple(value.shape) for key, value in values.items()} == dict.fromkeys(
        values, (len(targets),)
    ) | vectors
    return {key: value.numpy() for key, value in values.items()}


def measure_classes(labels: np.ndarray = LABELS, logits: np.ndarray = LOGITS, **arguments) -> dict[str, np.ndarray]:
    return measure("classification", CLASSES, labels, logits, **arguments)


def assert_close(actual: np.ndarray, expected: object) -> None:
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=2e-5, atol=1e-6)


# Classification


def test_cross_entropy_and_accuracy_equal_keras() -> None:
    values = measure_classes()
    assert_close(values["loss"], keras.losses.sparse_categorical_crossentropy(LABELS, LOGITS, from_logits=True))
    assert_close(values["accuracy"], keras.metrics.sparse_categorical_accuracy(LABELS, LOGITS))
    assert 0 < values["accuracy"].mean() < 1


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_label_smoothing_equals_keras(smoothing: float) -> None:
    loss = measure_classes(label_smoothing=smoothing)["loss"]
    expected = keras.losses.categorical_crossentropy(ONE_HOT, LOGITS, from_logits=True, label_smoothing=smoothing)
    assert_close(loss, expected)


def test_focal_loss_equals_keras_without_alpha() -> None:
    loss = measure_classes(loss="focal")["loss"]
    expected = keras.losses.categorical_focal_crossentropy(ONE_HOT, LOGITS, alpha=1.0, gamma=2.0, from_logits=True)
    assert_close(loss, expected)


def test_focal_loss_is_small_for_easy_examples() -> None:
    easy, hard = [[10.0] + [0.0] * 5], [[0.0] + [10.0] + [0.0] * 4]
    logits, labels = np.array(easy + hard, np.float32), np.zeros(2, np.int32)
    focal = measure_classes(labels, logits, loss="focal")["loss"]
    cross_entropy = measure_classes(labels, logits)["loss"]
    assert focal[0] < cross_entropy[0] / 1e4
    np.testing.assert_allclose(focal[1], cross_entropy[1], rtol=1e-3)


@pytest.mark.parametrize("k", [3, 5])
def test_top_k_accuracy_equals_keras(k: int) -> None:
    name = f"top_{k}_accuracy"
    accuracy = measure_classes(metrics=[name])[name]
    assert_close(accuracy, keras.metrics.sparse_top_k_categorical_accuracy(LABELS, LOGITS, k))
    assert 0 < accuracy.mean() < 1


def test_top_k_accuracy_of_fewer_than_k_classes_is_1() -> None:
    spec = DataSpec((4,), "float32", (), ("a", "b"))
    values = measure("classification", spec, LABELS % 2, LOGITS[:, :2], metrics=["top_3_accuracy"])
    assert values["top_3_accuracy"].tolist() == [1.0] * 20


def test_first_metric_is_monitored() -> None:
    def monitor(**arguments) -> tuple[str, str]:
        return tasks.build(Component("classification", arguments), CLASSES).monitor

    assert monitor() == ("accuracy", "max")
    assert monitor(metrics=["top_3_accuracy", "accuracy"]) == ("top_3_accuracy", "max")
    assert monitor(metrics=[]) == ("loss", "min")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.int64, np.uint64])
def test_labels_of_any_integer_dtype_are_supported(dtype: type) -> None:
    values = measure_classes(LABELS.astype(dtype), metrics=["accuracy", "top_3_accuracy"])
    assert_close(values["loss"], keras.losses.sparse_categorical_crossentropy(LABELS, LOGITS, from_logits=True))
    assert_close(values["accuracy"], keras.metrics.sparse_categorical_accuracy(LABELS, LOGITS))


def test_classification_trains_on_uint8_labels(trainer) -> None:
    """IDX files contain such labels."""
    dataset = from_arrays({"train": (RANDOM.random((40, 4), np.float32), RANDOM.integers(3, size=40).astype(np.uint8))})
    assert np.isfinite(trainer(dataset, epochs=1).fit()[0].train["loss"])


TARGETS = np.arange(60) % 3


@pytest.mark.parametrize(
    "targets",
    [TARGETS[:, None].astype(np.int32), np.eye(3, dtype=np.float32)[TARGETS], np.eye(3, dtype=np.int64)[TARGETS],
     np.eye(3, dtype=bool)[TARGETS], TARGETS.tolist()],
    ids=["column", "one-hot float", "one-hot int", "one-hot bool", "list"],
)  # fmt: skip
def test_targets_as_people_have_them_train_like_labels(trainer, targets: object) -> None:
    inputs = RANDOM.random((60, 4), np.float32)
    run, labels = (trainer(from_arrays({"train": (inputs, one)}), epochs=1) for one in (targets, TARGETS))
    assert run.fit()[0].train == labels.fit()[0].train
    found = Evaluator(run.state, run.data, run.task, run.config).run_with_predictions("train")
    np.testing.assert_array_equal(found.labels, TARGETS)


def test_several_labels_per_example_are_an_error() -> None:
    with raises_usage_error(r"needs one class per example; the targets of this dataset have shape \(7,\)"):
        tasks.build(Component("classification"), DataSpec((4,), "float32", (7,), tuple("abc")))


def test_one_hot_targets_may_be_numbers_of_a_regression() -> None:
    spec = DataSpec((4,), "float32", (2,), ("a", "b"), one_hot=True)
    values = measure("regression", spec, np.float32([[1, 0]]), np.float32([[0, 0]]))
    assert_close(values["loss"], [0.5])


@pytest.mark.filterwarnings("ignore:.*it looks like it has unbuilt state")
@pytest.mark.parametrize("build", [True, False])
def test_layer_that_is_never_called_is_not_trained(trainer, build: bool) -> None:
    class WithUnusedLayer(SubclassedModel):
        def __init__(self) -> None:
            super().__init__(3)
            self.unused = keras.layers.Conv2D(16, 3)
            if build:
                self.unused.build((None, 8, 8, 1))

    model = WithUnusedLayer()
    trainer(net=model, kernels="auto", clip_norm=1.0, ema_decay=0.9, micro_batch_size=5, epochs=1).fit()
    assert model.unused.built == build


def test_model_of_unknown_static_shapes_trains(trainer) -> None:
    class UnknownShapes(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.dense = keras.layers.Conv2D(2, 3, padding="same"), keras.layers.Dense(3)

        def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
            batch, height, width, _ = tf.unstack(tf.shape(inputs))
            maps = self.convolution(tf.reshape(inputs, [batch, height, width, 1]))
            return self.dense(tf.reduce_mean(maps, axis=[1, 2]))

    trainer(net=UnknownShapes(), epochs=1).fit()


def test_metrics_of_bfloat16_outputs_are_float32() -> None:
    logits = tf.cast(LOGITS, tf.bfloat16)
    loss = measure_classes(logits=logits)["loss"]
    assert loss.dtype == np.float32
    assert_close(loss, measure_classes(logits=tf.cast(logits, tf.float32))["loss"])


def test_metrics_of_float64_outputs_are_float64() -> None:
    assert measure_classes(logits=LOGITS.astype(np.float64))["loss"].dtype == np.float64


# Regression


@pytest.mark.parametrize(
    ("target_shape", "outputs"), [((), (1,)), ((), ()), ((1,), (1,)), ((3,), (3,)), ((2, 3), (6,))]
)
@pytest.mark.parametrize("name", ["mean_squared_error", "mean_absolute_error", "huber"])
def test_regression_loss_is_the_mean_over_the_numbers_of_an_example(
    name: str, target_shape: tuple, outputs: tuple
) -> None:
    spec = DataSpec((4,), "float32", target_shape)
    random = np.random.default_rng(1)
    targets = (random.standard_normal((7, *target_shape)) * 2).astype(np.float32)
    predicted = (random.standard_normal((7, *outputs)) * 2).astype(np.float32)
    values = measure("regression", spec, targets, predicted, loss=name)
    error = np.abs(targets.reshape(7, -1) - predicted.reshape(7, -1))
    losses = {
        "mean_squared_error": error**2,
        "mean_absolute_error": error,
        "huber": np.where(error <= 1, error**2 / 2, error - 0.5),
    }
    assert_close(values["loss"], losses[name].mean(axis=1))
    assert_close(values["mae"], error.mean(axis=1))
    assert tasks.build(Component("regression"), spec).monitor == ("loss", "min")


def test_regression_supports_integer_targets() -> None:
    spec = DataSpec((4,), "float32", ())
    values = measure("regression", spec, np.array([3, 4], np.int64), np.array([[2.0], [4.0]], np.float32))
    assert_close(values["loss"], [1, 0])


@pytest.mark.parametrize("targets", [1, 3])
def test_regression_reduces_the_loss(trainer, targets: int) -> None:
    dataset = {"name": "synthetic", "shape": [5], "classes": 0, "targets": targets, "noise": 0.0, "train_examples": 256}
    run = trainer(dataset=dataset, task="regression", epochs=15, optimizer={"name": "adam", "learning_rate": 0.1})
    epochs = run.fit()
    assert epochs[-1].train["loss"] < 0.05 * epochs[0].train["loss"]


# Training step


def test_train_step_updates_weights_dropout_seeds_and_moving_statistics(trainer) -> None:
    run = trainer(model={"name": "conv_net", "filters": [4], "batch_norm": True, "hidden": [8], "dropout": 0.5})
    before, batch = run.everything(), next(iter(run.data.batches(0, 1)))
    values = run.task.train_step(run.state, batch)
    after = run.everything()
    unchanged = {name for name in after if name.startswith("models/") and np.array_equal(before[name], after[name])}
    assert not unchanged  # the seeds of dropout and the moving statistics of batch norm included
    assert {"seed_generator_state", "moving_mean"} <= {variable.name for variable in run.state.model.variables}
    assert values["loss"].shape == (16,)


def test_train_step_returns_metrics_before_the_update(trainer) -> None:
    run = trainer()
    batch = next(iter(run.data.batches(0, 1)))
    expected = run.task.eval_step(run.state, batch)["loss"].numpy()
    assert_close(run.task.train_step(run.state, batch)["loss"].numpy(), expected)
    assert not np.allclose(run.task.eval_step(run.state, batch)["loss"].numpy(), expected)


def test_regularization_loss_of_a_layer_is_in_the_gradient(trainer) -> None:
    def trained_kernel(strength: float) -> np.ndarray:
        regularizer = keras.regularizers.L2(strength) if strength else None
        dense = keras.layers.Dense(3, kernel_initializer="ones", kernel_regularizer=regularizer)
        net = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), dense])
        run = trainer(net=net, optimizer={"name": "sgd", "learning_rate": 0.1})
        run.task.train_step(run.state, next(iter(run.data.batches(0, 1))))
        return run.weights()[0]

    # The gradient of 0.25 w^2 is 0.5 w, and the initial w is 1.
    assert_close(trained_kernel(0.25), trained_kernel(0.0) - 0.1 * 0.5)


def test_predict_returns_the_most_probable_class(trainer) -> None:
    run = trainer()
    inputs, _ = next(iter(run.data.evaluation("test")))
    expected = np.argmax(run.state.model(inputs, training=False).numpy(), axis=1)
    assert run.task.predict(run.state, inputs).numpy().tolist() == expected.tolist()
    assert len(set(expected.tolist())) > 1


# Unsuitable data and models


@contextmanager
def raises_usage_error(message: str) -> Iterator[None]:
    with pytest.raises(TfloopError, match=message) as caught:
        yield
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        ("classification", DataSpec((4,), "float32", (2,)), "needs classes"),
        ("regression", CLASSES, "needs numbers"),
        ("gan", CLASSES, "needs images"),
    ],
)
def test_task_with_unsuitable_data_is_an_error(name: str, spec: DataSpec, message: str) -> None:
    with raises_usage_error(message):
        tasks.build(Component(name), spec)


@pytest.mark.parametrize(("task", "model"), [("classification", "dcgan"), ("gan", "linear")])
def test_task_with_unsuitable_model_is_an_error(trainer, task: str, model: str) -> None:
    with raises_usage_error(f"task `{task}` trains .*`{model}` is"):
        trainer(task=task, model=model)


class SubclassedModel(keras.Model):
    """A model whose output shape is unknown before its first call."""

    def __init__(self, *output_shape: int) -> None:
        super().__init__()
        self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(int(np.prod(output_shape)))
        self.reshape = keras.layers.Reshape(output_shape)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.reshape(self.dense(self.flatten(inputs)))


def sequential_model(*output_shape: int) -> keras.Model:
    dense = keras.layers.Dense(int(np.prod(output_shape)))
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), dense, keras.layers.Reshape(output_shape)])


NUMBERS = {"task": "regression", "dataset": {"name": "synthetic", "shape": [8, 8, 1], "classes": 0, "targets": 2}}


@pytest.mark.parametrize("make", [SubclassedModel, sequential_model])
@pytest.mark.parametrize(
    ("output_shape", "changes", "message"),
    [
        ((7,), {}, r"model `linear` has 7 outputs per example, and the task needs 3 \(one per class\)"),
        ((1, 3), {}, r"has outputs of shape \(1, 3\) per example, and the task needs 3 \(one per class\)"),
        ((1,), NUMBERS, r"has 1 output per example, and the task needs 2 \(one per number of the target\)"),
    ],
)
def test_model_with_other_outputs_is_an_error(trainer, make, output_shape: tuple, changes: dict, message: str) -> None:
    with raises_usage_error(message):
        trainer(net=make(*output_shape), **changes)


@pytest.mark.parametrize("make", [SubclassedModel, sequential_model])
def test_regression_model_may_have_any_output_shape(trainer, make) -> None:
    trainer(net=make(1, 2), **NUMBERS, epochs=1).fit()


def test_model_without_a_known_output_shape_trains(trainer) -> None:
    class ModelWithoutOutputSpec(SubclassedModel):
        def compute_output_spec(self, *_: object, **__: object) -> None:
            raise NotImplementedError

    trainer(net=ModelWithoutOutputSpec(3), epochs=1).fit()


# GAN

GAN = {"model": {"name": "dcgan", "latent": 4, "width": 4}, "task": {"name": "gan", "sample_rows": 3}}


def changed_models(run, trained: str) -> set[str]:
    """Returns the models whose weights a step changes if the learning rates of all others are 0."""
    for name, optimizer in run.state.optimizers.items():
        if name != trained:
            optimizer.inner.learning_rate = 0.0
    before = {name: [weight.numpy() for weight in model.trainable_weights] for name, model in run.state.models.items()}
    run.task.train_step(run.state, next(iter(run.data.batches(0, 1))))
    return {
        name
        for name, model in run.state.models.items()
        if any(
            not np.array_equal(old, weight.numpy())
            for old, weight in zip(before[name], model.trainable_weights, strict=True)
        )
    }


@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_each_optimizer_of_a_gan_trains_one_model(trainer, name: str) -> None:
    run = trainer(**GAN)
    assert {variable.path for variable in run.state.optimizers[name].inner._trainable_variables} == {
        variable.path for variable in run.state.models[name].trainable_variables
    }
    assert changed_models(run, name) == {name}


def test_gradient_of_each_gan_model_is_that_of_its_loss(trainer) -> None:
    """With SGD and a learning rate of 1, an update is the gradient itself."""
    run = trainer(**GAN | {"model": GAN["model"] | {"dropout": 0.0}}, optimizer={"name": "sgd", "learning_rate": 1.0})
    generator, discriminator = run.state.models["generator"], run.state.models["discriminator"]
    images, _ = batch = next(iter(run.data.batches(0, 1)))
    noise = run.task.noise(run.state, images, run.state.step)
    with tf.GradientTape(persistent=True) as tape:
        fakes = generator(noise, training=True)
        real, fake = discriminator(images, training=True)[:, 0], discriminator(fakes, training=True)[:, 0]
        # -log sigmoid(x) is softplus(-x); the target of a real image is 0.9.
        real_loss = 0.9 * tf.nn.softplus(-real) + 0.1 * tf.nn.softplus(real)
        losses = {
            "discriminator": tf.reduce_mean(real_loss + tf.nn.softplus(fake)),
            "generator": tf.reduce_mean(tf.nn.softplus(-fake)),
        }
    expected = {
        name: [
            weight.numpy() - tape.gradient(losses[name], weight).numpy()
            for weight in (weight.value for weight in model.trainable_weights)
        ]
        for name, model in run.state.models.items()
    }
    values = run.task.train_step(run.state, batch)
    for name, model in run.state.models.items():
        assert_close(np.mean(values[f"{name}_loss"]), losses[name])
        for weight, value in zip(model.trainable_weights, expected[name], strict=True):
            np.testing.assert_allclose(weight.numpy(), value, rtol=1e-3, atol=1e-5)


def test_gan_training_changes_all_weights_of_both_models(trainer) -> None:
    run = trainer(**GAN, epochs=3, validation=20)
    before = {key: model.get_weights() for key, model in run.state.models.items()}
    for epoch in run.fit():
        assert all(np.isfinite(list(epoch.train.values())))
        assert all(np.isfinite(list(epoch.validation.values())))
        assert 0 < epoch.train["real_score"] < 1
        assert 0 < epoch.train["fake_score"] < 1
        assert not epoch.best
    for key, model in run.state.models.items():
        for weight, old in zip(model.weights, before[key], strict=True):
            assert not np.array_equal(old, weight.numpy()), weight.path


def test_gan_samples_are_images_of_the_same_noise(trainer) -> None:
    run = trainer(**GAN)
    first = run.task.samples(run.state)
    assert first.shape == (9, 8, 8, 1)
    assert first.min() >= 0
    assert first.max() <= 1
    assert first[0].std() > 0
    assert not np.array_equal(first[0], first[1])
    np.testing.assert_array_equal(first, run.task.samples(run.state))
    run.fit()
    assert not np.array_equal(first, run.task.samples(run.state))  # same noise, but a trained generator


def test_gan_noise_differs_between_steps_and_evaluation_batches(trainer) -> None:
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


def test_label_smoothing_lowers_the_target_of_real_images() -> None:
    spec = DataSpec((8, 8, 1), "float32")
    plain, smooth = (tasks.build(Component("gan", {"label_smoothing": smoothing}), spec) for smoothing in (0.0, 0.25))
    real, fake = tf.constant([[3.0]]), tf.constant([[-1.0]])
    difference = (
        smooth.compute_metrics(real, fake)["discriminator_loss"]
        - plain.compute_metrics(real, fake)["discriminator_loss"]
    )
    assert_close(difference, [0.25 * 3.0])  # the cross entropy of a target t is softplus(x) - t x


def test_user_task_may_return_metrics_in_any_order(trainer) -> None:
    run = trainer(epochs=1)

    class ReversedMetrics(type(run.task)):
        def compute_metrics(self, targets, outputs):
            return dict(reversed(super().compute_metrics(targets, outputs).items()))

    other = trainer(epochs=1)
    other.task = ReversedMetrics(other.task.loss, other.task.other_metrics, other.task.monitor, run.data.spec, 3)
    assert other.fit()[0].train == run.fit()[0].train


def test_unbuilt_user_model_trains(trainer) -> None:
    """A subclass of keras.Model as in TensorFlow's quickstart, which creates its weights at the first call."""

    class MyModel(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(3)

        def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
            return self.dense(self.flatten(inputs))

    run = trainer(net=MyModel(), epochs=10, optimizer={"name": "adam", "learning_rate": 0.1})
    epochs = run.fit()
    assert epochs[-1].train["loss"] < epochs[0].train["loss"] / 2


@pytest.mark.parametrize("scale", [True, "auto"])
def test_unbuilt_user_model_is_built_with_the_inputs_that_it_receives(trainer, scale: bool | str) -> None:
    """Vectors of uint8 are floats only with `scale_uint8: true`; that decides whether the softmax is found."""

    class MyModel(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.received = keras.layers.Dense(3), []

        def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
            self.received.append(inputs.dtype.name if isinstance(inputs.dtype, tf.DType) else inputs.dtype)
            return tf.nn.softmax(self.dense(tf.cast(inputs, tf.float32)))

    values = np.random.default_rng(0).integers(0, 256, (40, 5)).astype(np.uint8)
    model = MyModel()
    run = trainer(from_arrays({"train": (values, np.arange(40) % 3)}), net=model, scale_uint8=scale)
    run.fit()
    assert set(model.received) == {"float32" if scale is True else "int32"}
