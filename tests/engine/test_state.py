"""The training state: names of all variables, hash of the weights, EMA weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

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
    run = trainer(ema_decay=0.75, optimizer={"name": "sgd", "learning_rate": 0.1})
    averages = [weight.numpy() for weight in run.state.model.trainable_variables]
    for batch in run.data.batches(0, 5):
        run.task.train_step(run.state, batch)
        weights = [weight.numpy() for weight in run.state.model.trainable_variables]
        averages = [0.75 * old + 0.25 * new for old, new in zip(averages, weights, strict=True)]
    for got, expected in zip(run.state.optimizer.ema, averages, strict=True):
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-6)


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
