"""Promise: what is not finite is never on disk, and never goes by without a word."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.checkpoints.saver import CheckpointSaver
from tfloop_cli.engine.data import from_arrays
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import EpochDone
from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints

ABOUT = {"config": {}, "data": "", "code": {}, "run_id": "one", "total_steps": 9}


def data(bad: float = 0.5):
    random = np.random.default_rng(0)
    inputs, labels = random.random((64, 8), np.float32), random.integers(3, size=64).astype(np.int32)
    inputs[17, 2] = bad
    return from_arrays({"train": (inputs, labels)})


def net(*layers: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(3)])


def train(run, folder: Path) -> str:
    """Trains with checkpoints at every step to its end; the error that it ended with."""
    run.config.checkpoint.__dict__["every_steps"] = 1
    with CheckpointSaver(folder, run.state, run.config.checkpoint, ABOUT, print) as checkpoints:
        try:
            for event in run.events():
                checkpoints.handle(event)
        except TfloopError as error:
            assert error.code == ExitCode.DIVERGED
            return str(error)
    return ""


def on_disk(folder: Path) -> int:
    """How many checkpoints there are; every number in them is finite."""
    there = list_checkpoints(folder)
    for path in there:
        for name, array in Checkpoint.open(path).arrays().items():
            assert name.startswith("loop/") or array.dtype.kind in "iub" or np.isfinite(array).all(), name
    return len(there)


@pytest.mark.parametrize("steps_per_execution", [1, 3, 64])
@pytest.mark.parametrize("layers", [[], ["batch_norm"]], ids=["plain", "batch_norm"])
def test_the_step_and_the_examples_are_named(trainer, tmp_path: Path, steps_per_execution: int, layers: list) -> None:
    model = net(*[keras.layers.BatchNormalization() for _ in layers])
    run = trainer(data(np.nan), model, epochs=2, steps_per_execution=steps_per_execution, checkpoint={"keep": 99})
    (step,) = [step for step in range(4) if 17 in run.data.examples_of(step)]
    said = train(run, tmp_path)
    assert f"not finite at step {step + 1};" in said
    assert "its batch holds the training examples " + ", ".join(map(str, run.data.examples_of(step)[:8])) in said
    on_disk(tmp_path)


@pytest.mark.parametrize("steps_per_execution", [1, 64])
def test_an_epsilon_of_zero(trainer, tmp_path: Path, steps_per_execution: int) -> None:
    """Adam divides a gradient of 0 by the root of 0: NaN weights out of finite numbers."""
    random = np.random.default_rng(0)
    inputs = random.random((64, 8), np.float32)
    inputs[:, 3] = 0  # whose weights have no gradient
    dataset = from_arrays({"train": (inputs, random.integers(3, size=64).astype(np.int32))})
    run = trainer(
        dataset, net(), epochs=1, optimizer={"name": "adam", "epsilon": 0.0}, steps_per_execution=steps_per_execution
    )
    said = train(run, tmp_path)
    assert "the weights are not finite at step 1;" in said
    assert on_disk(tmp_path) == 0


def test_skipping_counts_in_history_table_and_summary(trainer, tmp_path: Path, capsys) -> None:
    from tfloop_cli.events import RunEnded, RunStarted
    from tfloop_cli.runs.documents import document, read_epoch
    from tfloop_cli.runs.folder import RunFolder
    from tfloop_cli.runs.recorder import Recorder
    from tfloop_cli.terminal.console import Console
    from tfloop_cli.terminal.display import make_display

    run = trainer(data(np.nan), net(), epochs=3, on_nonfinite="skip")
    told = run.fit()
    assert [epoch.skipped_batches for epoch in told] == [1, 2, 3]
    recorder = Recorder(RunFolder(tmp_path), Console())
    for event in [RunStarted("r", 0, {}, 3, 4, 64, ("loss",)), *told, RunEnded("completed", "r", "c", "w", 1.0)]:
        recorder.handle(event)
    assert json.loads((tmp_path / "summary.json").read_text())["skipped_batches"] == 3
    assert read_epoch(json.dumps(document(told[2])).encode() + b"\n") == told[2]
    with make_display(Console()) as display:
        display.handle(RunStarted("r", 0, {}, 3, 4, 64, ("loss",)))
        display.handle(told[2])
    assert "3 batches skipped" in capsys.readouterr().err


def test_a_history_with_nan_is_read_again() -> None:
    from tfloop_cli.files import json_text
    from tfloop_cli.runs.documents import document, read_epoch

    event = EpochDone(1, 4, {"loss": float("nan")}, None, 1.0, 0.0, 1.0)
    again = read_epoch(json_text(document(event)).encode() + b"\n")
    assert again is not None
    assert np.isnan(again.train["loss"])


@pytest.mark.parametrize("line", ['"train": 3', '"train": {"loss": "x"}', '"validation": []', '"epoch": "one"'])
def test_a_line_of_strangers_is_left_out(line: str) -> None:
    from tfloop_cli.runs.documents import read_epoch

    good = {"event": "epoch", "epoch": 1, "step": 4, "train": {"loss": 1.0}, "validation": None, "train_seconds": 1.0}
    good |= {"validation_seconds": 1.0, "examples_per_second": 1.0}
    assert read_epoch(json.dumps(good).encode() + b"\n") is not None
    assert read_epoch(json.dumps(good | json.loads("{" + line + "}")).encode() + b"\n") is None or "validation" in line


# float16 and its loss scale


def scale(run) -> list[float]:
    return run.state.variables()["optimizers/model/scale"].numpy().tolist()


def test_float16_learns_what_float32_learns(trainer) -> None:
    half, full = trainer(precision="float16", epochs=3), trainer(precision="float32", epochs=3)
    assert half.fit()[-1].train["loss"] == pytest.approx(full.fit()[-1].train["loss"], rel=0.02)
    assert scale(half) == [2.0**15, 12.0]


def test_an_overflow_halves_the_scale_and_skips_the_update(trainer) -> None:
    run = trainer(precision="float16", epochs=1)
    run.state.optimizer.scale.assign([2.0**40, 7.0])
    before = run.weights()
    batch = next(iter(run.data.batches(0, 1)))
    step = tf.function(run.task.train_step)
    step(run.state, batch)
    assert scale(run) == [2.0**39, 0.0]
    assert run.state.skipped_steps.numpy()[0] == 0  # no divergence
    for old, new in zip(before, run.weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    for _ in range(40):
        step(run.state, batch)
    assert scale(run)[0] < 2.0**30
    assert not np.array_equal(before[0], run.weights()[0])


def test_the_scale_grows_after_many_good_steps(trainer) -> None:
    run = trainer(precision="float16", epochs=1)
    run.state.optimizer.scale.assign([1024.0, 1999.0])
    run.task.train_step(run.state, next(iter(run.data.batches(0, 1))))
    assert scale(run) == [2048.0, 0.0]


def test_a_nan_in_the_data_is_a_divergence_in_float16_too(trainer, tmp_path: Path) -> None:
    run = trainer(data(np.nan), net(), precision="float16", epochs=1)
    assert "training diverged" in train(run, tmp_path)
    on_disk(tmp_path)


def test_a_step_that_does_not_know_the_scale_is_not_divided_by_it(trainer) -> None:
    """A task of the user's own may call `tape.gradient` as everybody does."""
    run = trainer(precision="float16", optimizer={"name": "sgd", "learning_rate": 1.0})
    variables = run.state.model.trainable_variables
    before = variables[0].numpy()
    run.state.optimizer.apply([tf.ones_like(v) for v in variables], variables, tf.constant(1.0))
    np.testing.assert_allclose(variables[0].numpy(), before - 1, rtol=1e-6)


def test_the_scale_is_saved_and_comes_back(trainer, tmp_path: Path) -> None:
    from tfloop_cli.engine.checkpoints.format import Snapshot, write_checkpoint

    run, other = trainer(precision="float16"), trainer(precision="float16")
    run.state.optimizer.scale.assign([4.0, 77.0])
    Checkpoint.open(write_checkpoint(tmp_path, Snapshot.of(run.state), ABOUT)).restore(other.state)
    assert scale(other) == [4.0, 77.0]
