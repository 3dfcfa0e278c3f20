"""Checkpoints: complete or absent, bitwise exact, and verified when they are read."""

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file

from tfloop_cli.config.loading import to_mapping
from tfloop_cli.engine.checkpoints.manager import CheckpointManager
from tfloop_cli.engine.checkpoints.storage import STATE, read_arrays, restore, write_checkpoint
from tfloop_cli.engine.snapshot import Snapshot
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import EpochDone, Stopped
from tfloop_cli.runs.checkpoints import MANIFEST, Checkpoint, list_checkpoints

CNN = {"model": {"name": "conv_net", "filters": [2], "batch_norm": True, "hidden": [4], "dropout": 0.5}}
GAN = {"model": {"name": "dcgan", "latent": 3, "width": 2}, "task": "gan"}


def facts_of(run, run_id: str = "one") -> dict:
    config = to_mapping(run.config)
    return {
        "config": config,
        "data": run.data.fingerprint,
        "code": {},
        "run_id": run_id,
        "total_steps": 8,
        "train_examples": 1,
    }


def save(run, folder: Path) -> Checkpoint:
    return Checkpoint.open(write_checkpoint(folder, run.state.snapshot(), facts_of(run)))


def make_manager(run, folder: Path, warnings: list[str] | None = None, run_id: str = "one") -> CheckpointManager:
    warn = [].append if warnings is None else warnings.append
    return CheckpointManager(folder, run.state, run.config.checkpoint, facts_of(run, run_id), warn)


# Saving and restoring


@pytest.mark.parametrize(
    "changes",
    [
        CNN | {"optimizer": {"name": "adam", "amsgrad": True}, "ema_decay": 0.9},
        CNN | {"optimizer": {"name": "sgd", "momentum": 0.9}, "schedule": "cosine", "warmup_steps": 2},
        CNN | {"precision": "bfloat16"},
        {"precision": "float64", "validation": 10},
        GAN,
    ],
    ids=["adam-ema", "sgd-schedule", "bfloat16", "float64", "gan"],
)
def test_every_variable_is_restored_bitwise(trainer, assert_bitwise_equal, tmp_path: Path, changes: dict) -> None:
    run, other = trainer(**changes), trainer(**changes, seed=1)
    run.fit_until(3)
    expected = run.everything()
    assert not np.array_equal(next(iter(other.everything().values())), next(iter(expected.values())))
    restore(save(run, tmp_path), other.state)
    assert_bitwise_equal(other.everything(), expected)
    assert other.state.weights_sha256() == run.state.weights_sha256()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "uint8", "int64", "uint32", "bool"])
def test_variables_of_every_dtype_are_restored(trainer, assert_bitwise_equal, tmp_path: Path, dtype: str) -> None:
    class CustomLayer(keras.layers.Layer):
        def build(self, shape: tuple) -> None:
            options = {"dtype": dtype, "trainable": False, "autocast": False}
            self.matrix = self.add_weight(shape=(2, 3), initializer="ones", **options)
            self.scalar = self.add_weight(shape=(), initializer="zeros", **options)

        def call(self, inputs: tf.Tensor) -> tf.Tensor:
            return inputs

    def make_run():
        layers = [keras.Input((8, 8, 1)), CustomLayer(), keras.layers.Flatten(), keras.layers.Dense(3)]
        return trainer(net=keras.Sequential(layers))

    run, other = make_run(), make_run()
    run.state.model.layers[0].matrix.assign([[0, 1, 1], [1, 0, 1]])
    checkpoint = save(run, tmp_path)
    assert read_arrays(checkpoint)["models/model/0000"].dtype.name == dtype
    restore(checkpoint, other.state)
    assert_bitwise_equal(other.everything(), run.everything())


def test_snapshot_is_contiguous(trainer) -> None:
    snapshot = trainer().state.snapshot()
    assert all(array.flags.c_contiguous for array in snapshot.arrays.values())


def test_snapshot_does_not_change_during_training(trainer, assert_bitwise_equal) -> None:
    run = trainer(**CNN)
    snapshot, before = run.state.snapshot(), run.everything()
    run.fit()
    assert_bitwise_equal(snapshot.arrays, before)


def test_repeatedly_resumed_run_matches_uninterrupted_run(trainer, assert_bitwise_equal, tmp_path: Path) -> None:
    """The interruptions are in the middle of an epoch (steps 2 and 5) and at its end (step 4)."""
    changes = CNN | {"ema_decay": 0.9, "validation": 10, "augment": ["affine"], "steps_per_execution": 1, "epochs": 2}

    def results_of(event: EpochDone) -> tuple:
        return event.epoch, event.train, event.validation, event.best

    uninterrupted = trainer(**changes)
    expected = [results_of(event) for event in uninterrupted.fit()]
    assert uninterrupted.data.steps_per_epoch == 4

    results, run = [], trainer(**changes)
    for stop in (2, 4, 5, 8):
        for event in run.events():
            if isinstance(event, EpochDone):
                results.append(results_of(event))
            elif int(run.state.step) == stop < 8:
                break
        checkpoint, run = save(run, tmp_path), trainer(**changes)
        restore(checkpoint, run.state)
        keras.utils.set_random_seed(99)  # the result must depend on the checkpoint only
    assert_bitwise_equal(run.everything(), uninterrupted.everything())
    assert results == expected


@pytest.mark.parametrize("action", ["write", "read"])
def test_files_need_no_second_copy_of_the_state(trainer, tmp_path: Path, action: str) -> None:
    """Writing needs the memory of no array, reading that of one: the content of the file."""
    run = trainer(net=keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]))
    size = 2**22
    arrays = {f"models/model/{index:04d}": np.ones(size // 4, np.float32) for index in range(4)}
    facts = run.state.snapshot().facts
    tracemalloc.start()
    path = write_checkpoint(tmp_path, Snapshot(arrays, facts, list(arrays)), facts_of(run))
    peak = tracemalloc.get_traced_memory()[1]
    if action == "read":
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        read_arrays(Checkpoint.open(path))
        peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < (0.1 if action == "write" else 4.1) * size


def test_state_file_is_readable_with_safetensors(trainer, assert_bitwise_equal, tmp_path: Path) -> None:
    run = trainer(**CNN)
    arrays = load_file(save(run, tmp_path).path / STATE)
    assert_bitwise_equal({name: arrays[name] for name in run.everything()}, run.everything())


# Errors


@pytest.fixture(scope="module")
def original(trainer, tmp_path_factory: pytest.TempPathFactory):
    """A checkpoint and its run; tests must not change them."""
    run = trainer(**CNN)
    return save(run, tmp_path_factory.mktemp("original")), run


@pytest.fixture
def checkpoint(original, tmp_path: Path):
    """A copy of `original`, whose files a test may damage."""
    saved, run = original
    shutil.copytree(saved.path, tmp_path / saved.path.name)
    return Checkpoint(tmp_path / saved.path.name, saved.manifest), run


def assert_checkpoint_error(call: Callable[[], object], *texts: str) -> None:
    with pytest.raises(TfloopError) as caught:
        call()
    assert caught.value.code == ExitCode.CHECKPOINT
    for text in texts:
        assert text in str(caught.value)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def append(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b" ")


def flip_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def delete(file: Path) -> None:
    file.unlink()


def replace_with_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_with_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def replace_with_image(file: Path) -> None:
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))


@pytest.mark.parametrize("name", [MANIFEST, STATE])
@pytest.mark.parametrize(
    "damage",
    [truncate, append, flip_bit, empty, delete, replace_with_folder, replace_with_pipe, replace_with_image],
    ids=lambda function: function.__name__,
)
def test_error_names_damaged_file_and_nothing_is_restored(
    checkpoint, assert_bitwise_equal, name: str, damage: Callable[[Path], None]
) -> None:
    saved, run = checkpoint
    before = run.everything()
    damage(saved.path / name)
    assert_checkpoint_error(lambda: restore(Checkpoint.open(saved.path), run.state), str(saved.path), name)
    assert_bitwise_equal(run.everything(), before)


@pytest.mark.parametrize(
    "content", ["[]", "null", "3", '"text"', "{}", '{"schema": 2}', "[" * 10_000, '{"schema": 1}', '{"schema": 99}']
)
def test_invalid_manifest_is_error(checkpoint, content: str) -> None:
    saved, _ = checkpoint
    (saved.path / MANIFEST).write_text(content)
    assert_checkpoint_error(lambda: Checkpoint.open(saved.path), MANIFEST)


@pytest.mark.parametrize("key", ["step", "epoch", "config", "sha256", "size", "data", "code", "run_id"])
def test_edited_manifest_is_error(checkpoint, key: str) -> None:
    saved, _ = checkpoint
    file = saved.path / MANIFEST
    manifest = json.loads(file.read_text())
    manifest[key] = 0 if isinstance(manifest[key], str) else "changed"
    file.write_text(json.dumps(manifest, indent=2) + "\n")
    assert_checkpoint_error(lambda: Checkpoint.open(saved.path), MANIFEST)


def test_missing_folder_is_error(tmp_path: Path) -> None:
    assert_checkpoint_error(lambda: Checkpoint.open(tmp_path / "step-00000001"), "step-00000001", MANIFEST)


def test_state_file_of_other_checkpoint_is_error(trainer, tmp_path: Path) -> None:
    run = trainer()
    first = save(run, tmp_path)
    run.fit_until(1)
    second = save(run, tmp_path)
    (second.path / STATE).write_bytes((first.path / STATE).read_bytes())
    assert_checkpoint_error(lambda: restore(Checkpoint.open(second.path), run.state), STATE)


def test_folder_name_with_other_step_is_error(checkpoint) -> None:
    saved, _ = checkpoint
    renamed = saved.path.rename(saved.path.with_name("step-00000007"))
    assert_checkpoint_error(lambda: Checkpoint.open(renamed), "it belongs to step 0")


def test_moved_checkpoint_is_valid(checkpoint, tmp_path: Path) -> None:
    saved, run = checkpoint
    moved = saved.path.rename(tmp_path / "my best one")
    restore(Checkpoint.open(moved), run.state)


MISMATCH = "does not match this model"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "mlp", "hidden": [4]}}, MISMATCH),
        ({"model": CNN["model"] | {"hidden": [5]}}, "(72, 4) in it and float32 (72, 5) here"),
        ({"model": CNN["model"] | {"dropout": 0.0}}, MISMATCH),
        (CNN | {"optimizer": {"name": "sgd"}}, "which this model does not have"),
        (CNN | {"precision": "float64"}, "float32"),
        (GAN, MISMATCH),
    ],
    ids=["mlp", "units", "no dropout", "optimizer", "precision", "gan"],
)
def test_checkpoint_of_other_model_is_error_and_changes_nothing(
    trainer, checkpoint, assert_bitwise_equal, changes: dict, message: str
) -> None:
    saved, _ = checkpoint
    other = trainer(**changes)
    before = other.everything()
    assert_checkpoint_error(lambda: restore(saved, other.state), MISMATCH, message)
    assert_bitwise_equal(other.everything(), before)


# CheckpointManager


def end_epoch(run, manager: CheckpointManager, best: bool) -> None:
    """Ends an epoch of 4 steps without training, and lets the manager handle the event."""
    state = run.state
    state.step.assign_add(4)
    state.epoch.assign_add(1)
    if best:
        state.best_step.assign(state.step)
    manager.handle(EpochDone(int(state.epoch), int(state.step), {}, None, 1.0, 0.0, 1.0, best=best))


@pytest.mark.parametrize(
    ("epochs", "config", "kept", "best"),
    [
        ([True, True, True], {}, [12], 12),
        ([True, False, False], {}, [4, 12], 4),
        ([False, True, False], {"keep": 2}, [8, 12], 8),
        ([True, False, False, False], {"keep": 2}, [4, 12, 16], 4),
        ([False] * 5, {}, [20], None),
        ([False] * 5, {"keep": 3}, [12, 16, 20], None),
        ([False] * 5, {"every_epochs": 2, "keep": 9}, [8, 16, 20], None),
        ([True, False, False], {"every_epochs": 9}, [4, 12], 4),
        ([True, False, False], {"best": None}, [12], None),
    ],
)
def test_newest_and_best_checkpoints_are_kept(
    trainer, tmp_path: Path, epochs: list[bool], config: dict, kept: list[int], best: int | None
) -> None:
    """Each epoch is given as whether it is the best so far."""
    run = trainer(checkpoint=config)
    with make_manager(run, tmp_path) as manager:
        for is_best in epochs:
            end_epoch(run, manager, is_best)
        manager.handle(Stopped("completed", int(run.state.step)))
    found = list_checkpoints(tmp_path)
    assert [Checkpoint.open(path).manifest["step"] for path in found] == kept
    assert manager.last == found[-1]
    assert (manager.best and Checkpoint.open(manager.best).manifest["step"]) == best
    if best:
        assert Checkpoint.open(manager.last).best() == manager.best
    assert [path for path in tmp_path.iterdir() if path not in found] == []


def test_best_weights_are_restored(trainer, assert_bitwise_equal, tmp_path: Path) -> None:
    run = trainer()
    with make_manager(run, tmp_path) as manager:
        end_epoch(run, manager, best=True)
        best = run.everything()
        weight = run.state.model.trainable_variables[0]
        weight.assign_add(tf.ones_like(weight))
        end_epoch(run, manager, best=False)
        manager.handle(Stopped("completed", 8))
    assert manager.restore_best() == manager.best
    assert_bitwise_equal(run.everything(), best)


def test_last_state_of_run_is_saved(trainer, tmp_path: Path) -> None:
    run = trainer(validation=10)
    with make_manager(run, tmp_path) as manager:
        for event in run.events():
            manager.handle(event)
    manifest = Checkpoint.open(manager.last).manifest
    assert (manifest["step"], manifest["epoch"]) == (8, 2)
    assert manifest["weights_sha256"] == run.state.weights_sha256()
    assert manifest["best_step"] == int(run.state.best_step) in (4, 8)


def test_state_is_saved_once(trainer, tmp_path: Path) -> None:
    run = trainer()
    with make_manager(run, tmp_path) as manager:
        end_epoch(run, manager, best=True)
        manager.handle(Stopped("completed", 4))
        manager.handle(Stopped("completed", 4))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000004"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["models/", "optimizers/", "ema/"])
def test_non_finite_state_is_not_saved(trainer, tmp_path: Path, part: str, value: float) -> None:
    run = trainer(ema_decay=0.9)
    with make_manager(run, tmp_path) as manager:
        end_epoch(run, manager, best=False)
        name, variable = [
            (name, variable)
            for name, variable in run.state.variables().items()
            if name.startswith(part) and variable.dtype.is_floating
        ][-1]
        array = variable.numpy()
        array.flat[-1] = value
        variable.assign(array)
        with pytest.raises(TfloopError, match="has non-finite values") as caught:
            end_epoch(run, manager, best=True)
    assert caught.value.code == ExitCode.DIVERGED
    assert name in str(caught.value)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000004"]


@pytest.mark.parametrize("saved", [True, False])
def test_divergence_names_the_checkpoint_that_is_left_if_there_is_one(trainer, tmp_path: Path, saved: bool) -> None:
    run = trainer()
    manager = make_manager(run, tmp_path)
    error = TfloopError("training diverged", hint="lower the rate", code=ExitCode.DIVERGED)
    if saved:
        end_epoch(run, manager, best=False)
    with pytest.raises(TfloopError) as caught, manager:
        raise error
    left = f"{tmp_path / 'step-00000004'} is good" if saved else "no checkpoint was saved before"
    assert str(caught.value) == f"training diverged\n  lower the rate; {left}"
    assert caught.value.problems[0].hint == f"lower the rate; {left}"


def test_leftovers_of_interrupted_save_are_removed(trainer, tmp_path: Path) -> None:
    run = trainer()
    good = save(run, tmp_path).path
    for name in (".staging-123", ".removed-step-00000001"):
        (tmp_path / name).mkdir()
        (tmp_path / name / STATE).write_bytes(b"half")
    assert list_checkpoints(tmp_path) == [good]
    make_manager(run, tmp_path)
    assert list(tmp_path.iterdir()) == [good]


# Resuming


def test_resume_uses_newest_good_checkpoint_and_warns_about_damaged_one(trainer, tmp_path: Path) -> None:
    run = trainer()
    first = save(run, tmp_path)
    run.fit_until(1)
    second = save(run, tmp_path)
    run.fit_until(2)
    third, arrays = save(run, tmp_path), read_arrays(second)
    truncate(third.path / STATE)
    warnings: list[str] = []
    other = trainer(seed=5)
    restored = make_manager(other, tmp_path, warnings).restore(None)
    assert restored.path == second.path
    assert other.everything()["models/model/0000"].tobytes() == arrays["models/model/0000"].tobytes()
    assert len(warnings) == 1
    assert third.path.name in warnings[0]
    assert first.path.is_dir()


def test_resume_without_checkpoints_changes_nothing(trainer, assert_bitwise_equal, tmp_path: Path) -> None:
    run = trainer()
    before = run.everything()
    assert make_manager(run, tmp_path / "checkpoints").restore(None) is None
    assert_bitwise_equal(run.everything(), before)


def test_resume_from_given_damaged_checkpoint_is_error(trainer, tmp_path: Path) -> None:
    run = trainer()
    saved = save(run, tmp_path)
    truncate(saved.path / STATE)
    assert_checkpoint_error(lambda: make_manager(run, tmp_path).restore(saved.path), STATE)


def test_checkpoint_of_other_run_is_not_restored(trainer, tmp_path: Path) -> None:
    run = trainer()
    save(run, tmp_path)
    warnings: list[str] = []
    manager = make_manager(run, tmp_path, warnings, run_id="two")
    assert_checkpoint_error(lambda: manager.restore(None), "none of the 1 checkpoints")
    assert "it belongs to another run" in warnings[0]
