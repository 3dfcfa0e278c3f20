"""Steps with non-finite values are rolled back exactly, and no others."""

import functools
import re
from collections.abc import Callable, Mapping

import keras
import numpy as np
import pytest

from tfloop_cli.engine.data import ArraySource, from_arrays
from tfloop_cli.engine.training import non_finite
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry import optimizers

WITHOUT_SQUARES = ("adamax", "lion", "sgd")  # optimizers; others keep squares of gradients in their state
FAULTY = 3  # index of the training example with the value
IMAGES = (4, 4, 1)
Expected = Mapping[str, np.ndarray]


def dataset_with(value: float, shape: tuple[int, ...] = (8,), others: Mapping[int, float] = {}) -> ArraySource:
    """Returns 60 training examples; the one at `FAULTY` contains `value`, and `others` are more such."""
    random = np.random.default_rng(0)
    inputs, labels = random.random((60, *shape), np.float32), random.integers(3, size=60).astype(np.int32)
    for index, wrong in {FAULTY: value, **others}.items():
        inputs[index].flat[2] = wrong
    return from_arrays({"train": (inputs, labels)})


def make_model() -> keras.Model:
    """Returns a model whose non-trainable state changes in every step: moving statistics and the seed of dropout."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    return keras.Sequential([
        keras.Input(IMAGES), layers.Flatten(), layers.BatchNormalization(), layers.Dense(6, "relu"),
        layers.Dropout(0.3), layers.Dense(3),
    ])  # fmt: skip


def faulty_steps(run, example: int = FAULTY) -> list[int]:
    steps = range(run.data.steps_per_epoch * run.config.epochs)
    return [step for step in steps if example in run.data.examples_of(step)]


def is_finite(run) -> bool:
    variables = run.everything().items()
    return all(np.isfinite(array).all() for name, array in variables if not name.startswith("loop/"))


SKIPPING = {"epochs": 2, "batch_size": 4, "on_nonfinite": "skip", "ema_decay": 0.9, "optimizer": "adam"}


@pytest.fixture(scope="module")
def without_faulty_steps(trainer) -> Callable[[tuple[str, ...]], Expected]:
    """Returns a function that trains a run and skips its faulty steps by hand: the expected result of the guard."""

    @functools.cache
    def fit(augment: tuple[str, ...]) -> Expected:
        changes = SKIPPING | {"augment": list(augment)}
        run = trainer(dataset_with(np.nan, IMAGES), make_model(), steps_per_execution=1, **changes)
        steps = run.data.steps_per_epoch
        for number, step in enumerate(faulty_steps(run), 1):
            assert 0 < step % steps < steps - 1  # the loop does more at the ends of an epoch
            run.fit_until(step)
            run.state.step.assign(step + 1)
            run.state.skipped_steps.assign([number, faulty_steps(run)[0]])
        run.fit()
        return run.everything()

    return fit


@pytest.mark.parametrize("augment", [(), ("flip",)], ids=["in-memory", "pipeline"])
@pytest.mark.parametrize("steps_per_execution", [1, 3, 64])
def test_skipped_step_does_not_affect_result(
    trainer, without_faulty_steps, assert_bitwise_equal, steps_per_execution: int, augment: tuple[str, ...]
) -> None:
    changes = SKIPPING | {"augment": list(augment)}
    run = trainer(dataset_with(np.nan, IMAGES), make_model(), steps_per_execution=steps_per_execution, **changes)
    epochs = run.fit()
    assert [epoch.skipped_batches for epoch in epochs] == [1, 2]
    assert [epoch.retraces for epoch in epochs] == [0, 0]
    assert_bitwise_equal(run.everything(), without_faulty_steps(augment))
    assert is_finite(run)


@pytest.mark.parametrize("interval", [0.0, 1e9], ids=["snapshot per call", "snapshot per epoch"])
def test_snapshot_interval_does_not_affect_result(
    trainer, without_faulty_steps, assert_bitwise_equal, monkeypatch, interval: float
) -> None:
    monkeypatch.setattr(non_finite, "SNAPSHOT_INTERVAL", interval)
    monkeypatch.setattr(non_finite, "MAX_SNAPSHOT_INTERVAL", interval)
    run = trainer(dataset_with(np.nan, IMAGES), make_model(), steps_per_execution=4, **SKIPPING)
    run.fit()
    assert_bitwise_equal(run.everything(), without_faulty_steps(()))


@pytest.mark.parametrize("name", sorted(optimizers.names()))
def test_non_finite_gradient_is_detected_with_every_optimizer(trainer, name: str) -> None:
    """Three examples, in three batches, contain NaN, infinity and 1e30.

    An input of 1e30 gives a finite loss at zero weights, and a gradient whose square is too large for float32.

    An optimizer without squares uses such a gradient, as in Keras.
    """
    optimizer = {"name": name, "learning_rate": 1e-35}  # keeps the weights near zero
    dataset = dataset_with(np.nan, others={10: np.inf, 20: 1e30})
    run = trainer(dataset, epochs=2, batch_size=6, optimizer=optimizer, on_nonfinite="skip")
    for weight in run.state.trainable_variables():
        weight.assign(np.zeros(weight.shape, np.float32))
    steps = [step for example in (FAULTY, 10, 20) for step in faulty_steps(run, example)]
    assert len(set(steps)) == 6
    skipped = steps[:4] if name in WITHOUT_SQUARES else steps
    assert [epoch.skipped_batches for epoch in run.fit()] == [len(skipped) // 2, len(skipped)]
    assert run.state.skipped_steps.numpy().tolist() == [len(skipped), min(skipped)]
    assert is_finite(run)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_infinite_norm_is_detected_with_clip_norm(trainer, optimizer: str) -> None:
    """Clipping divides the gradient by its norm: with an infinite norm, all values would be 0, which is finite."""
    run = trainer(dataset_with(1e30), epochs=1, optimizer=optimizer, clip_norm=1.0, on_nonfinite="skip")
    run.fit()
    assert run.state.skipped_steps.numpy()[0] == 1


@pytest.mark.parametrize("option", ["clipnorm", "global_clipnorm"])
def test_infinite_norm_is_detected_with_clipping_of_own_optimizer(trainer, register_optimizer, option: str) -> None:
    register_optimizer(lambda: keras.optimizers.Adam(**{option: 1.0}))
    run = trainer(dataset_with(1e30), epochs=1, optimizer={"name": "mine"}, on_nonfinite="skip")
    run.fit()
    assert run.state.skipped_steps.numpy()[0] == 1


@pytest.mark.parametrize(("faulty", "diverges"), [(2, False), (3, True)])
def test_more_skipped_steps_than_half_of_an_epoch_end_the_run(trainer, faulty: int, diverges: bool) -> None:
    inputs, labels = np.zeros((40, 8), np.float32), np.arange(40, dtype=np.int32) % 3
    config = {"epochs": 1, "batch_size": 10, "on_nonfinite": "skip"}
    clean = trainer(from_arrays({"train": (inputs, labels)}), **config)
    for step in range(faulty):
        inputs[clean.data.examples_of(step)[0]] = np.nan
    run = trainer(from_arrays({"train": (inputs, labels)}), **config)
    if diverges:
        with pytest.raises(TfloopError, match="more than half of the steps of epoch 1 were skipped") as caught:
            run.fit()
        assert caught.value.code == ExitCode.DIVERGED
    else:
        run.fit()
        assert run.state.skipped_steps.numpy()[0] == faulty


@pytest.mark.parametrize(("value", "skipped"), [(1e30, 0), (np.inf, 1)])
def test_clipping_by_value_hides_only_finite_gradients(trainer, register_optimizer, value: float, skipped: int) -> None:
    register_optimizer(lambda: keras.optimizers.SGD(1e-35, clipvalue=1.0))
    run = trainer(dataset_with(value), epochs=1, optimizer={"name": "mine"}, on_nonfinite="skip")
    for weight in run.state.trainable_variables():
        weight.assign(np.zeros(weight.shape, np.float32))
    run.fit()
    assert run.state.skipped_steps.numpy()[0] == skipped


@pytest.mark.parametrize("steps_per_execution", [1, 64])
def test_training_stops_before_faulty_step_and_names_it(
    trainer, assert_bitwise_equal, steps_per_execution: int
) -> None:
    run, expected = (
        trainer(dataset_with(np.nan), epochs=1, batch_size=4, steps_per_execution=steps)
        for steps in (steps_per_execution, 1)
    )
    (step,) = faulty_steps(run)
    assert step
    expected.fit_until(step)
    with pytest.raises(TfloopError, match=rf"the loss is not finite at step {step + 1} \(loss nan\);") as caught:
        run.fit()
    assert caught.value.code == ExitCode.DIVERGED
    assert f"NaN or infinity in the training example {FAULTY}" in str(caught.value)
    assert int(run.state.step) == step
    assert_bitwise_equal(run.everything(), expected.everything())


def test_moving_statistics_of_batch_norm_are_rolled_back(trainer) -> None:
    """The forward pass changes them before a gradient exists."""
    run = trainer(dataset_with(np.nan, IMAGES), make_model(), epochs=2, on_nonfinite="skip")
    run.fit()
    assert run.state.skipped_steps.numpy()[0] == 2
    assert all(np.isfinite(weight).all() for weight in run.weights())


def test_epoch_with_only_faulty_batches_ends_the_run_with_initial_weights(trainer) -> None:
    inputs, labels = np.full((60, 8), np.nan, np.float32), np.arange(60, dtype=np.int32) % 3
    dataset = from_arrays({"train": (inputs, labels)})
    run = trainer(dataset, epochs=1, on_nonfinite="skip")
    before = run.weights()
    with pytest.raises(TfloopError, match="more than half of the steps of epoch 1 were skipped"):
        run.fit()
    for got, expected in zip(run.weights(), before, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_metrics_exclude_skipped_batches(trainer) -> None:
    run = trainer(dataset_with(np.nan), epochs=1, on_nonfinite="skip", steps_per_execution=64)
    (epoch,) = run.fit()
    assert np.isfinite(epoch.train["loss"])
    assert epoch.step == 4


def test_sum_of_large_losses_is_no_divergence(trainer) -> None:
    """Each loss is about 1e38, which float32 can represent; their sum is not finite in float32."""
    inputs, targets = np.zeros((60, 8), np.float32), np.full((60, 1), 1.1e19, np.float32)
    run = trainer(
        from_arrays({"train": (inputs, targets)}), task={"name": "regression", "standardize": False}, epochs=2,
        batch_size=2, optimizer={"name": "sgd", "learning_rate": 1e-30}, steps_per_execution=64,
    )  # fmt: skip
    assert [epoch.train["loss"] for epoch in run.fit()] == pytest.approx([1.21e38] * 2, rel=1e-3)
    assert run.state.skipped_steps.numpy()[0] == 0


def stop_message(run) -> str:
    with pytest.raises(TfloopError) as caught:
        run.fit()
    return caught.value.problems[0].message


def test_message_has_the_norm_of_the_gradient_if_it_is_known(trainer) -> None:
    optimizer = {"name": "sgd", "learning_rate": 1e-35}  # keeps the weights near zero
    run = trainer(dataset_with(1e30), epochs=1, optimizer=optimizer, clip_norm=1.0)
    for weight in run.state.trainable_variables():
        weight.assign(np.zeros(weight.shape, np.float32))
    message = stop_message(run)
    assert "the norm of the gradient is not finite at step" in message
    assert re.search(r"\(loss 1\.\d+, gradient norm inf\);", message)


def test_message_names_variables_by_their_layer(trainer) -> None:
    state = trainer(dataset_with(0.5, IMAGES), make_model(), optimizer="adam", ema_decay=0.9).state
    names = {state.describe(name).replace("sequential_", "") for name in state.checked_names()}
    kinds = "weight", "non-trainable weight", "optimizer state", "EMA of the weight"
    for kind, variable in zip(kinds, ("gamma", "moving_mean", "dense.*kernel.*velocity", "kernel"), strict=True):
        assert any(re.fullmatch(f"the {kind} `.*{variable}`", name) for name in names), (kind, names)
