"""Guarantee: non-finite values are never saved, and are always reported."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.checkpoints.manager import CheckpointManager
from tfloop_cli.engine.checkpoints.storage import read_arrays, restore, write_checkpoint
from tfloop_cli.engine.data import from_arrays
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import EpochDone, RunEnded, RunStarted
from tfloop_cli.files import json_text
from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints
from tfloop_cli.runs.documents import document, read_epoch
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.runs.recorder import Recorder
from tfloop_cli.terminal.console import Console
from tfloop_cli.terminal.display import make_display

FACTS = {"config": {}, "data": "", "code": {}, "run_id": "one", "total_steps": 9, "train_examples": 1}


def make_dataset(value: float = 0.5, constant_feature: int | None = None):
    """Returns 64 examples of 8 features; one feature of example 17 is `value`, and one may be 0 in all examples."""
    random = np.random.default_rng(0)
    inputs, labels = random.random((64, 8), np.float32), random.integers(3, size=64).astype(np.int32)
    inputs[17, 2] = value
    if constant_feature is not None:
        inputs[:, constant_feature] = 0
    return from_arrays({"train": (inputs, labels)})


def make_model(*layers: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(3)])


def train(run, folder: Path) -> None:
    """Trains with a checkpoint at every step."""
    run.config.checkpoint.__dict__["every_steps"] = 1
    with CheckpointManager(folder, run.state, run.config.checkpoint, FACTS, print) as manager:
        for event in run.events():
            manager.handle(event)


def train_until_error(run, folder: Path) -> str:
    """Trains as `train`; returns the message of the error that ends the run."""
    with pytest.raises(TfloopError) as caught:
        train(run, folder)
    assert caught.value.code == ExitCode.DIVERGED
    return str(caught.value)


def count_finite_checkpoints(folder: Path) -> int:
    """Returns the number of checkpoints, after asserting that all their values are finite."""
    checkpoints = list_checkpoints(folder)
    for path in checkpoints:
        for name, array in read_arrays(Checkpoint.open(path)).items():
            assert name.startswith("loop/") or array.dtype.kind in "iub" or np.isfinite(array).all(), name
    return len(checkpoints)


@pytest.mark.parametrize("steps_per_execution", [1, 3, 64])
@pytest.mark.parametrize("layers", [[], ["batch_norm"]], ids=["plain", "batch_norm"])
def test_error_names_the_step_and_its_examples(trainer, tmp_path: Path, steps_per_execution: int, layers: list) -> None:
    model = make_model(*[keras.layers.BatchNormalization() for _ in layers])
    run = trainer(
        make_dataset(np.nan), model, epochs=2, steps_per_execution=steps_per_execution, checkpoint={"keep": 99}
    )
    (step,) = [step for step in range(4) if 17 in run.data.examples_of(step)]
    message = train_until_error(run, tmp_path)
    assert f"not finite at step {step + 1} (loss nan);" in message
    assert "the data has NaN or infinity in the training example 17\n  replace these values" in message
    count_finite_checkpoints(tmp_path)


@pytest.mark.parametrize("steps_per_execution", [1, 64])
def test_adam_with_epsilon_zero_is_an_error_and_not_saved(trainer, tmp_path: Path, steps_per_execution: int) -> None:
    """Adam divides a gradient of 0 by the square root of 0: finite values become NaN weights."""
    run = trainer(
        make_dataset(constant_feature=3),  # its weights have no gradient
        make_model(),
        epochs=1,
        optimizer={"name": "adam", "epsilon": 0.0},
        steps_per_execution=steps_per_execution,
    )
    assert re.search(
        r"the weight `.*kernel` is not finite at step 1 \(loss [\d.]+\);", train_until_error(run, tmp_path)
    )
    assert count_finite_checkpoints(tmp_path) == 0


def test_skipped_batches_appear_in_history_table_and_summary(trainer, tmp_path: Path, capsys) -> None:
    run = trainer(make_dataset(np.nan), make_model(), epochs=3, on_nonfinite="skip")
    epochs = run.fit()
    assert [epoch.skipped_batches for epoch in epochs] == [1, 2, 3]
    started = RunStarted("r", 0, {}, 3, 4, 64, ("loss",))
    recorder = Recorder(RunFolder(tmp_path), Console().warn)
    for event in [started, *epochs, RunEnded("completed", "r", "c", "w", 1.0)]:
        recorder.handle(event)
    assert json.loads((tmp_path / "summary.json").read_text())["skipped_batches"] == 3
    assert read_epoch(json.dumps(document(epochs[2])).encode() + b"\n") == epochs[2]
    with make_display(Console()) as display:
        display.handle(started)
        display.handle(epochs[2])
    assert "3 batches skipped" in capsys.readouterr().err


def test_read_epoch_restores_nan() -> None:
    event = EpochDone(1, 4, {"loss": float("nan")}, None, 1.0, 0.0, 1.0)
    restored = read_epoch(json_text(document(event)).encode() + b"\n")
    assert restored is not None
    assert np.isnan(restored.train["loss"])


def read_changed_epoch(**changes: object) -> EpochDone | None:
    values = {"event": "epoch", "epoch": 1, "step": 4, "train": {"loss": 1.0}, "validation": None, "train_seconds": 1.0}
    values |= {"validation_seconds": 1.0, "examples_per_second": 1.0}
    return read_epoch(json.dumps(values | changes).encode() + b"\n")


@pytest.mark.parametrize("changes", [{"train": 3}, {"train": {"loss": "x"}}, {"epoch": "one"}], ids=str)
def test_read_epoch_rejects_malformed_line(changes: dict[str, object]) -> None:
    assert read_changed_epoch() is not None
    assert read_changed_epoch(**changes) is None


def test_read_epoch_ignores_validation_of_another_type() -> None:
    assert read_changed_epoch(validation=[]) is None


# float16 and its loss scale


def loss_scale(run) -> list[float]:
    """Returns the scale, and the number of steps since it changed."""
    return run.state.variables()["optimizers/model/scale"].numpy().tolist()


def test_float16_reaches_the_loss_of_float32(trainer) -> None:
    half, full = trainer(precision="float16", epochs=3), trainer(precision="float32", epochs=3)
    assert half.fit()[-1].train["loss"] == pytest.approx(full.fit()[-1].train["loss"], rel=0.02)
    assert loss_scale(half) == [2.0**15, 12.0]


def test_overflow_halves_the_scale_and_skips_the_update(trainer) -> None:
    run = trainer(precision="float16", epochs=1)
    run.state.optimizer.scale.assign([2.0**40, 7.0])
    before = run.weights()
    batch = next(iter(run.data.batches(0, 1)))
    step = tf.function(run.task.train_step)
    step(run.state, batch)
    assert loss_scale(run) == [2.0**39, 0.0]
    assert run.state.skipped_steps.numpy()[0] == 0  # an overflow is not a divergence
    for old, new in zip(before, run.weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    for _ in range(40):
        step(run.state, batch)
    assert loss_scale(run)[0] < 2.0**30
    assert not np.array_equal(before[0], run.weights()[0])


def test_scale_doubles_after_many_finite_steps(trainer) -> None:
    run = trainer(precision="float16", epochs=1)
    run.state.optimizer.scale.assign([1024.0, 1999.0])
    run.task.train_step(run.state, next(iter(run.data.batches(0, 1))))
    assert loss_scale(run) == [2048.0, 0.0]


def test_nan_in_the_data_is_an_error_in_float16(trainer, tmp_path: Path) -> None:
    run = trainer(make_dataset(np.nan), make_model(), precision="float16", epochs=1)
    assert "training diverged" in train_until_error(run, tmp_path)
    count_finite_checkpoints(tmp_path)


def test_unscaled_gradients_are_not_divided_by_the_scale(trainer) -> None:
    """A custom task may call `tape.gradient` without the loss scale."""
    run = trainer(precision="float16", optimizer={"name": "sgd", "learning_rate": 1.0})
    variables = run.state.model.trainable_variables
    before = variables[0].numpy()
    run.state.optimizer.apply([tf.ones_like(v) for v in variables], variables, tf.constant(1.0))
    np.testing.assert_allclose(variables[0].numpy(), before - 1, rtol=1e-6)


def test_scale_is_saved_and_restored(trainer, tmp_path: Path) -> None:
    run, other = trainer(precision="float16"), trainer(precision="float16")
    run.state.optimizer.scale.assign([4.0, 77.0])
    restore(Checkpoint.open(write_checkpoint(tmp_path, run.state.snapshot(), FACTS)), other.state)
    assert loss_scale(other) == [4.0, 77.0]
