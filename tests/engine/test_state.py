"""Everything that a step changes, by name; the guard before the weights; the average of the weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data import from_arrays
from tfloop_cli.errors import ExitCode, TfloopError

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
    named = {variable.handle._id for variable in run.state.variables().values()}
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
    for got, expected in zip(run.state.optimizer.averages, average, strict=True):
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_averaged_swaps_and_gives_back(trainer) -> None:
    run = trainer(**NET, ema_decay=0.9)
    run.fit()
    before = run.everything()
    with run.state.averaged():
        for weight, average in zip(run.state.model.trainable_variables, run.state.optimizer.averages, strict=True):
            np.testing.assert_array_equal(weight.numpy(), average.numpy())
        assert not np.array_equal(run.everything()["models/model/0000"], before["models/model/0000"])
    same(run.everything(), before)


def test_averaged_gives_back_when_something_fails(trainer) -> None:
    run = trainer(ema_decay=0.9)
    run.fit()
    before = run.everything()
    with pytest.raises(ZeroDivisionError), run.state.averaged():
        raise ZeroDivisionError
    same(run.everything(), before)


def test_averaged_does_nothing_where_no_average_is_kept(trainer) -> None:
    run = trainer()
    before = run.everything()
    with run.state.averaged():
        same(run.everything(), before)


# The guard

BATCH = 2  # the step whose batch is bad
SLOTS = {"optimizer": "adam", "ema_decay": 0.9}


def same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray], *, but: tuple[str, ...] = ()) -> None:
    assert got.keys() == expected.keys()
    for name in got:
        if not name.startswith(but or "?"):
            np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


def spoiled(run, where: str) -> tuple:
    """A batch that makes the loss, or the gradient alone, not finite."""
    inputs, targets = next(iter(run.data.batches(BATCH, BATCH + 1)))
    inputs = inputs.numpy()
    # An input of 1e30 gives a finite loss at zero weights, and a gradient whose square is too large for float32.
    inputs[3, 0, 0, 0] = {"loss": np.nan, "gradient": 1e30, "nothing": 0.5}[where]
    return tf.constant(inputs), targets


@pytest.fixture
def at_zero(trainer):
    def make(**changes):
        run = trainer(**SLOTS, **changes)
        for batch in run.data.batches(0, BATCH):
            run.task.train_step(run.state, batch)
        for variable in run.state.model.trainable_variables:
            variable.assign(tf.zeros_like(variable))
        run.state.step.assign(BATCH)
        return run

    return make


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("action", ["stop", "skip"])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_an_update_that_is_not_finite_is_refused(at_zero, where: str, action: str, compiled: bool) -> None:
    run = at_zero(on_nonfinite=action)
    step = tf.function(run.task.train_step) if compiled else run.task.train_step
    before, batch = run.everything(), spoiled(run, where)
    values = step(run.state, batch)
    assert np.isfinite(values["loss"]).all() == (where == "gradient")
    same(run.everything(), before, but=("loop/bad",))
    assert run.state.bad.numpy()[:2].tolist() == [1, BATCH]

    run.state.step.assign(BATCH + 1)
    step(run.state, batch)
    assert run.state.bad.numpy()[:2].tolist() == [2, BATCH]  # how many, and which was the first
    same(run.everything(), before, but=("loop/",))

    step(run.state, spoiled(run, "nothing"))
    moved = not np.array_equal(run.everything()["models/model/0000"], before["models/model/0000"])
    assert moved == (action == "skip")  # after a refusal, "stop" refuses all that follow


def test_a_good_update_is_not_refused(at_zero) -> None:
    run = at_zero()
    before = run.everything()
    run.task.train_step(run.state, spoiled(run, "nothing"))
    assert run.state.bad.numpy()[0] == 0
    after = run.everything()
    assert all(not np.array_equal(after[name], before[name]) for name in after if name.startswith("averages/"))


def with_bad_example(value: float):
    random = np.random.default_rng(0)
    inputs, labels = random.random((60, 8), np.float32), random.integers(3, size=60).astype(np.int32)
    inputs[17, 2] = value
    return from_arrays({"train": (inputs, labels)})


def test_training_stops_at_a_bad_batch_and_says_which(trainer) -> None:
    run = trainer(with_bad_example(np.nan), epochs=1)
    (step,) = [step for step in range(4) if 17 in run.data.examples_of(step)]
    clean = trainer(with_bad_example(0.5), epochs=1)
    clean.fit_until(step)
    with pytest.raises(TfloopError, match=f"not finite at step {step + 1}") as caught:
        run.fit()
    assert caught.value.code == ExitCode.DIVERGED
    assert "learning_rate" in str(caught.value)
    if step:  # the weights are those of the step before
        for got, expected in zip(run.weights(), clean.weights(), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_training_skips_a_bad_batch_and_goes_on(trainer) -> None:
    run = trainer(with_bad_example(np.nan), epochs=3, on_nonfinite="skip")
    epochs = run.fit()
    assert run.state.bad.numpy()[0] == 3  # once an epoch
    assert int(run.state.step) == 12
    assert all(np.isfinite(weight).all() for weight in run.weights())
    assert all(np.isfinite(epoch.train["loss"]) for epoch in epochs)  # of the batches that were trained on


def test_an_epoch_without_a_single_good_batch_measures_nothing(trainer) -> None:
    random = np.random.default_rng(0)
    inputs = np.full((60, 8), np.nan, np.float32)
    dataset = from_arrays({"train": (inputs, random.integers(3, size=60).astype(np.int32))})
    (epoch,) = trainer(dataset, epochs=1, on_nonfinite="skip").fit()
    assert np.isnan(epoch.train["loss"])
    assert np.isnan(epoch.train["accuracy"])


@pytest.mark.parametrize("action", ["stop", "skip"])
def test_batch_norm_that_a_bad_batch_spoiled_stops_training(trainer, action: str) -> None:
    """Its averages are spoiled in the forward pass, before any guard; no later step can mend them."""
    net = keras.Sequential([keras.Input((8,)), keras.layers.BatchNormalization(), keras.layers.Dense(3)])
    run = trainer(with_bad_example(np.nan), net=net, epochs=1, on_nonfinite=action)
    with pytest.raises(TfloopError, match="diverged") as caught:
        run.fit()
    assert caught.value.code == ExitCode.DIVERGED
