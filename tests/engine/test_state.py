"""The training state: names of all variables, hash of the weights, EMA weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.evaluation import Evaluator
from tfloop_cli.engine.loop import TrainSteps
from tfloop_cli.errors import ExitCode, TfloopError

CNN = {"model": {"name": "conv_net", "filters": [2], "batch_norm": True, "hidden": [4], "dropout": 0.5}}


def test_names_do_not_depend_on_earlier_models(trainer) -> None:
    first, second = trainer(**CNN), trainer(**CNN)
    assert list(first.state.variables()) == list(second.state.variables())


def test_names_do_not_depend_on_keras_names(trainer) -> None:
    class UnnamedWeight(keras.layers.Layer):
        def build(self, shape: tuple) -> None:
            self.scale = self.add_weight(shape=(3,))  # Keras calls it variable, variable_1, ...

        def call(self, inputs: tf.Tensor) -> tf.Tensor:
            return inputs * self.scale

    def names() -> list[str]:
        layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3), UnnamedWeight()]
        return list(trainer(net=keras.Sequential(layers)).state.variables())

    assert names() == names()


def test_every_variable_that_a_step_changes_has_a_name(trainer) -> None:
    """The expected variables are those that TensorFlow finds in the traced step."""
    run = trainer(**CNN, ema_decay=0.9, optimizer="adamw", schedule="cosine")
    batch = next(iter(run.data.batches(0, 1)))
    step = tf.function(lambda: run.task.train_step(run.state, batch)).get_concrete_function()
    named = {variable.handle._id for variable in run.state.variables().values()} | {run.state.loss_sum.handle._id}
    assert step.variables
    assert {variable.handle._id for variable in step.variables} <= named


def test_variables_contain_dropout_seeds_and_moving_statistics(trainer) -> None:
    run = trainer(**CNN)
    named = {id(variable) for variable in run.state.variables().values()}
    names = ("seed_generator_state", "moving_mean", "moving_variance")
    expected = [variable for variable in run.state.model.variables if variable.name in names]
    assert len(expected) == 2 + 2
    assert all(id(variable.value) in named for variable in expected)


def test_every_variable_has_one_name(trainer) -> None:
    handles = [variable.handle._id for variable in trainer(**CNN, ema_decay=0.5).state.variables().values()]
    assert len(set(handles)) == len(handles)


def test_weights_sha256_changes_with_smallest_difference(trainer) -> None:
    run, same, other = trainer(**CNN, seed=1), trainer(**CNN, seed=1), trainer(**CNN, seed=2)
    assert run.state.weights_sha256() == same.state.weights_sha256() != other.state.weights_sha256()
    kernel = run.state.model.trainable_variables[0]
    changed = kernel.numpy()
    changed.flat[3] = np.nextafter(changed.flat[3], np.float32(9), dtype=np.float32)
    kernel.assign(changed)
    assert run.state.weights_sha256() != same.state.weights_sha256()


def test_weights_sha256_depends_on_model_weights_only(trainer) -> None:
    run = trainer(**CNN)
    before = run.state.weights_sha256()
    run.state.step.assign(7)
    run.state.optimizer.inner.variables[0].assign(3)
    assert run.state.weights_sha256() == before


# EMA


def test_ema_equals_manual_computation(trainer) -> None:
    """The decay of step k, counted from 0, is min(0.3, (1 + k) / (10 + k)): 0.3 from step 3 on."""
    run = trainer(ema_decay=0.3, optimizer={"name": "sgd", "learning_rate": 0.1})
    averages = [weight.numpy() for weight in run.state.model.trainable_variables]
    for batch, decay in zip(run.data.batches(0, 5), (1 / 10, 2 / 11, 3 / 12, 0.3, 0.3), strict=True):
        run.task.train_step(run.state, batch)
        weights = [weight.numpy() for weight in run.state.model.trainable_variables]
        averages = [decay * old + (1 - decay) * new for old, new in zip(averages, weights, strict=True)]
    for got, expected in zip(run.state.optimizer.ema, averages, strict=True):
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_ema_of_short_run_scores_like_the_weights(trainer) -> None:
    """Without a warm-up, 180 steps would leave 98% of the initial weights in the EMA, and the accuracy at chance."""
    dataset = {"name": "synthetic", "shape": [16], "classes": 8, "train_examples": 320, "test_examples": 200}
    run = trainer(dataset=dataset, model={"name": "mlp", "hidden": [300]}, epochs=9, ema_decay=0.9999)
    run.fit()
    assert int(run.state.step) == 180

    def accuracy() -> float:
        return Evaluator(run.state, run.data, run.task, run.config).run("test", stop=lambda: False).metrics["accuracy"]

    scored = accuracy()
    run.state.optimizer.ema.clear()
    assert accuracy() > 0.8
    assert abs(scored - accuracy()) < 0.05


def test_use_ema_weights_swaps_and_restores_weights(trainer, assert_bitwise_equal) -> None:
    run = trainer(**CNN, ema_decay=0.9)
    run.fit()
    before = run.everything()
    with run.state.use_ema_weights():
        for weight, average in zip(run.state.model.trainable_variables, run.state.optimizer.ema, strict=True):
            np.testing.assert_array_equal(weight.numpy(), average.numpy())
        assert not np.array_equal(run.everything()["models/model/0000"], before["models/model/0000"])
    assert_bitwise_equal(run.everything(), before)


def test_use_ema_weights_restores_weights_after_exception(trainer, assert_bitwise_equal) -> None:
    run = trainer(ema_decay=0.9)
    run.fit()
    before = run.everything()
    with pytest.raises(ZeroDivisionError), run.state.use_ema_weights():
        raise ZeroDivisionError
    assert_bitwise_equal(run.everything(), before)


def test_use_ema_weights_changes_nothing_without_ema(trainer, assert_bitwise_equal) -> None:
    run = trainer()
    before = run.everything()
    with run.state.use_ema_weights():
        assert_bitwise_equal(run.everything(), before)


# Values that are not finite


class Constant(keras.layers.Layer):
    """Holds a weight with one value that is not trained; with `trainable`, one that has no gradient."""

    def __init__(self, value: float, size: int = 3, *, trainable: bool = False, dtype: str = "float32") -> None:
        super().__init__(dtype=dtype)
        self._value, self._size, self._trainable_weight = value, size, trainable

    def build(self, shape: tuple) -> None:
        initializer = keras.initializers.Constant(self._value)
        options = {"trainable": self._trainable_weight, "dtype": self.dtype_policy.variable_dtype}
        self.constant = self.add_weight(shape=(self._size,), initializer=initializer, name="constant", **options)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.cast(inputs, "float32") + 0 * tf.cast(tf.math.is_finite(self.constant.value[0]), "float32")


@pytest.fixture
def run_with(trainer):
    """Returns a function that creates a run of a linear model with a `Constant`."""

    def make(constant: Constant, **changes):
        layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), constant, keras.layers.Dense(3)]
        return trainer(net=keras.Sequential(layers), **changes)

    return make


@pytest.mark.parametrize(("value", "dtype"), [(1.0, "float16"), (3e38, "float32"), (-3e38, "bfloat16")])
def test_sum_of_finite_values_that_overflows_is_no_divergence(run_with, value: float, dtype: str) -> None:
    run = run_with(Constant(value, 70_400, dtype=dtype))
    assert len(run.fit()) == 2
    assert int(run.state.skipped_steps[0]) == 0
    run.state.snapshot().require_finite()


def test_constant_mask_of_infinities_is_allowed_and_saved(run_with) -> None:
    run = run_with(Constant(-np.inf))
    assert len(run.fit()) == 2
    snapshot = run.state.snapshot()
    snapshot.require_finite()
    assert any(np.isinf(array).any() for name, array in snapshot.arrays.items() if name.startswith("models/"))


@pytest.mark.parametrize("constant", [Constant(np.nan), Constant(np.inf, trainable=True)], ids=["nan", "trained"])
def test_weight_that_is_not_finite_from_the_start_is_named(run_with, constant: Constant) -> None:
    run = run_with(constant, on_nonfinite="skip")
    with pytest.raises(TfloopError, match=r"weight `.*constant` is not finite before the first step") as caught:
        run.fit()
    assert caught.value.code == ExitCode.DIVERGED


def test_only_values_that_were_finite_are_checked(run_with) -> None:
    run = run_with(Constant(-np.inf))
    TrainSteps(run.state, run.data, run.task, run.config).trace()
    assert bool(run.state.is_finite())
    run.state.model.trainable_variables[0].assign(np.full((64, 3), np.nan))
    assert not bool(run.state.is_finite())
    assert run.state.non_finite() == ["models/model/0001"]


# Copies


def test_snapshot_uses_the_memory_of_the_latest_one_unless_it_is_being_saved(trainer) -> None:
    run = trainer()
    first = run.state.snapshot()
    array = first.arrays["models/model/0000"]
    run.fit_until(2)
    run.state.latest_snapshot = first
    second = run.state.snapshot()
    assert second.arrays["models/model/0000"] is array
    second.in_use = True
    third = run.state.snapshot()
    assert third.arrays["models/model/0000"] is not array
    np.testing.assert_array_equal(third.arrays["models/model/0000"], array)
