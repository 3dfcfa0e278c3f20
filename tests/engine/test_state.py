"""Everything that a step changes, by name; the average of the weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

NET = {"model": {"name": "conv_net", "filters": [2], "batch_norm": True, "hidden": [4], "dropout": 0.5}}


def test_names_do_not_depend_on_what_was_built_before(trainer) -> None:
    first, second = trainer(**NET), trainer(**NET)
    assert list(first.state.variables()) == list(second.state.variables())


def test_names_do_not_depend_on_keras_own_numbers(trainer) -> None:
    class Nameless(keras.layers.Layer):
        def build(self, shape: tuple) -> None:
            self.scale = self.add_weight(shape=(3,))  # Keras calls it variable, variable_1, ...

        def call(self, inputs: tf.Tensor) -> tf.Tensor:
            return inputs * self.scale

    def names() -> list[str]:
        flatten, dense = keras.layers.Flatten(), keras.layers.Dense(3)
        return list(
            trainer(net=keras.Sequential([keras.Input((8, 8, 1)), flatten, dense, Nameless()])).state.variables()
        )

    assert names() == names()


def test_every_variable_that_a_step_changes_has_a_name(trainer) -> None:
    """Found by what TensorFlow itself sees a step change."""
    run = trainer(**NET, ema_decay=0.9, optimizer="adamw", schedule="cosine")
    batch = next(iter(run.data.batches(0, 1)))
    step = tf.function(lambda: run.task.train_step(run.state, batch)).get_concrete_function()
    named = {variable.handle._id for variable in run.state.variables().values()} | {run.state.loss_sum.handle._id}
    assert step.variables
    assert {variable.handle._id for variable in step.variables} <= named


def test_dropouts_seed_and_batch_norms_averages_are_among_them(trainer) -> None:
    run = trainer(**NET)
    held = {id(variable) for variable in run.state.variables().values()}
    wanted = [
        v for v in run.state.model.variables if v.name in ("seed_generator_state", "moving_mean", "moving_variance")
    ]
    assert len(wanted) == 2 + 2
    assert all(id(variable.value) in held for variable in wanted)


def test_no_two_names_hold_one_variable(trainer) -> None:
    handles = [variable.handle._id for variable in trainer(**NET, ema_decay=0.5).state.variables().values()]
    assert len(set(handles)) == len(handles)


def test_weights_sha256_is_over_the_weights_bits(trainer) -> None:
    run, same, other = trainer(**NET, seed=1), trainer(**NET, seed=1), trainer(**NET, seed=2)
    assert run.state.weights_sha256() == same.state.weights_sha256() != other.state.weights_sha256()
    kernel = run.state.model.trainable_variables[0]
    changed = kernel.numpy()
    changed.flat[3] = np.nextafter(changed.flat[3], np.float32(9), dtype=np.float32)  # the smallest change there is
    kernel.assign(changed)
    assert run.state.weights_sha256() != same.state.weights_sha256()


def test_weights_sha256_is_of_the_models_alone(trainer) -> None:
    run = trainer(**NET)
    before = run.state.weights_sha256()
    run.state.step.assign(7)
    run.state.optimizer.keras.variables[0].assign(3)
    assert run.state.weights_sha256() == before


# The average


def test_an_average_by_hand(trainer) -> None:
    run = trainer(ema_decay=0.75, optimizer={"name": "sgd", "learning_rate": 0.1})
    average = [weight.numpy() for weight in run.state.model.trainable_variables]
    for batch in run.data.batches(0, 5):
        run.task.train_step(run.state, batch)
        weights = [weight.numpy() for weight in run.state.model.trainable_variables]
        average = [0.75 * old + 0.25 * new for old, new in zip(average, weights, strict=True)]
    for got, expected in zip(run.state.optimizer.ema, average, strict=True):
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_averaged_swaps_and_gives_back(trainer) -> None:
    run = trainer(**NET, ema_decay=0.9)
    run.fit()
    before = run.everything()
    with run.state.use_ema_weights():
        for weight, average in zip(run.state.model.trainable_variables, run.state.optimizer.ema, strict=True):
            np.testing.assert_array_equal(weight.numpy(), average.numpy())
        assert not np.array_equal(run.everything()["models/model/0000"], before["models/model/0000"])
    same(run.everything(), before)


def test_averaged_gives_back_when_something_fails(trainer) -> None:
    run = trainer(ema_decay=0.9)
    run.fit()
    before = run.everything()
    with pytest.raises(ZeroDivisionError), run.state.use_ema_weights():
        raise ZeroDivisionError
    same(run.everything(), before)


def test_averaged_does_nothing_where_no_average_is_kept(trainer) -> None:
    run = trainer()
    before = run.everything()
    with run.state.use_ema_weights():
        same(run.everything(), before)


def same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert got.keys() == expected.keys()
    for name in got:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
