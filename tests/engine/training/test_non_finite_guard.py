"""What spoils the state is taken back, exactly, and nothing else is."""

import keras
import numpy as np
import pytest

from tfloop_cli.engine.data import from_arrays
from tfloop_cli.engine.training import non_finite as guard
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import optimizers

BAD = 3  # the example


def data(value: float, shape: tuple[int, ...] = (8,)):
    """60 examples, one of which holds `value`."""
    random = np.random.default_rng(0)
    inputs, labels = random.random((60, *shape), np.float32), random.integers(3, size=60).astype(np.int32)
    inputs[BAD].flat[2] = value
    return from_arrays({"train": (inputs, labels)})


def stateful() -> keras.Model:
    """Layers whose state a bad batch spoils, or a step moves on: averages, and the seed of what is dropped."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    net = [layers.Flatten(), layers.BatchNormalization(), layers.Dense(6, "relu"), layers.Dropout(0.3), layers.Dense(3)]
    return keras.Sequential([keras.Input((4, 4, 1)), *net])


def bad_steps(run) -> list[int]:
    return [step for step in range(run.data.steps_per_epoch * run.config.epochs) if BAD in run.data.examples_of(step)]


def same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert got.keys() == expected.keys()
    for name in got:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


@pytest.fixture
def stepped_over(trainer):
    """A run that was taken by hand over its bad steps: what is left when the guard has done its work."""

    def make(dataset, net, **changes):
        run = trainer(dataset, net, steps_per_execution=1, **changes)
        for number, step in enumerate(bad_steps(run), 1):
            assert 0 < step % run.data.steps_per_epoch < run.data.steps_per_epoch - 1  # an epoch's ends are the loop's
            run.fit_until(step)
            run.state.step.assign(step + 1)
            run.state.skipped_steps.assign([number, bad_steps(run)[0]])
        run.fit()
        return run

    return make


@pytest.mark.parametrize("augment", [[], ["flip"]], ids=["in the graph", "streamed"])
@pytest.mark.parametrize("steps_per_execution", [1, 3, 64])
def test_it_is_as_if_the_step_had_not_been(trainer, stepped_over, steps_per_execution: int, augment: list[str]) -> None:
    shape = (4, 4, 1)
    changes = {"epochs": 2, "batch_size": 4, "on_nonfinite": "skip", "ema_decay": 0.9, "optimizer": "adam"}
    changes |= {"augment": augment}
    run = trainer(data(np.nan, shape), stateful(), steps_per_execution=steps_per_execution, **changes)
    told = run.fit()
    assert [epoch.skipped_batches for epoch in told] == [1, 2]
    assert [epoch.retraces for epoch in told] == [0, 0]
    same(run.everything(), stepped_over(data(np.nan, shape), stateful(), **changes).everything())
    assert all(np.isfinite(array).all() for name, array in run.everything().items() if not name.startswith("loop/"))


@pytest.mark.parametrize(("every", "longest"), [(0, 0.0), (1e9, 1e9)], ids=["a copy a call", "one an epoch"])
def test_when_it_copies_changes_nothing(trainer, monkeypatch, every: float, longest: float) -> None:
    changes = {"epochs": 3, "batch_size": 4, "on_nonfinite": "skip", "steps_per_execution": 4}
    usual = trainer(data(np.nan, (4, 4, 1)), stateful(), **changes)
    usual.fit()
    monkeypatch.setattr(guard, "COPY_EVERY", every)
    monkeypatch.setattr(guard, "LONGEST", longest)
    other = trainer(data(np.nan, (4, 4, 1)), stateful(), **changes)
    other.fit()
    same(other.everything(), usual.everything())


@pytest.mark.parametrize("name", sorted(optimizers.names()))
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30], ids=["nan", "inf", "gradient"])
def test_every_optimizer_shows_what_it_was_given(trainer, name: str, value: float) -> None:
    """An input of 1e30 gives a finite loss at zero weights, and a gradient whose square is too large for float32."""
    optimizer = {"name": name, "learning_rate": 1e-35}  # they stay near zero
    run = trainer(data(value), epochs=2, optimizer=optimizer, on_nonfinite="skip")
    for weight in run.state.trainable_variables():
        weight.assign(np.zeros(weight.shape, np.float32))
    run.fit()
    assert run.state.skipped_steps.numpy().tolist() == [2, bad_steps(run)[0]]
    assert all(np.isfinite(array).all() for key, array in run.everything().items() if not key.startswith("loop/"))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_norm_that_is_clipped_is_looked_at(trainer, optimizer: str) -> None:
    """Divided by a norm that is infinite, a gradient would be 0: nothing learned, and nothing said."""
    run = trainer(data(1e30), epochs=1, optimizer=optimizer, clip_norm=1.0, on_nonfinite="skip")
    run.fit()
    assert run.state.skipped_steps.numpy()[0] == 1


@pytest.mark.parametrize("steps_per_execution", [1, 64])
def test_training_stops_before_the_bad_batch_and_says_which(trainer, steps_per_execution: int) -> None:
    run = trainer(data(np.nan), epochs=1, batch_size=4, steps_per_execution=steps_per_execution)
    (step,) = bad_steps(run)
    assert step
    clean = trainer(data(0.5), epochs=1, batch_size=4)
    clean.fit_until(step) if steps_per_execution == 1 else None
    with pytest.raises(TfloopError, match=f"the loss is not finite at step {step + 1};") as caught:
        run.fit()
    assert caught.value.code == ExitCode.DIVERGED
    assert "learning_rate" in str(caught.value)
    assert int(run.state.step) == step


def test_batch_norm_that_a_bad_batch_spoiled_is_mended(trainer) -> None:
    """Its averages are spoiled in the forward pass, before any gradient."""
    run = trainer(data(np.nan, (4, 4, 1)), stateful(), epochs=2, on_nonfinite="skip")
    run.fit()
    assert run.state.skipped_steps.numpy()[0] == 2
    assert all(np.isfinite(weight).all() for weight in run.weights())


def test_an_epoch_without_a_single_good_batch_measures_nothing(trainer) -> None:
    random = np.random.default_rng(0)
    dataset = from_arrays(
        {"train": (np.full((60, 8), np.nan, np.float32), random.integers(3, size=60).astype(np.int32))}
    )
    run = trainer(dataset, epochs=1, on_nonfinite="skip")
    before = run.weights()
    (epoch,) = run.fit()
    assert epoch.skipped_batches == 4
    assert np.isnan(epoch.train["loss"])
    assert np.isnan(epoch.train["accuracy"])
    for old, new in zip(before, run.weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_metrics_are_of_the_batches_that_were_trained_on(trainer) -> None:
    run = trainer(data(np.nan), epochs=1, on_nonfinite="skip", steps_per_execution=64)
    (epoch,) = run.fit()
    assert np.isfinite(epoch.train["loss"])
    assert epoch.step == 4
