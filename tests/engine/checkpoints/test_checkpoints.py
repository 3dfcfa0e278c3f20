"""CheckpointSaver: whole or absent, bit for bit, and never believed without a check."""

import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.config.loading import to_mapping
from tfloop_cli.engine.checkpoints.format import STATE, Snapshot, restore, write_checkpoint
from tfloop_cli.engine.checkpoints.saver import CheckpointSaver
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import EpochDone, Event, Stopped
from tfloop_cli.runs.checkpoints import MANIFEST, Checkpoint, list_checkpoints

DEEP = {"model": {"name": "conv_net", "filters": [2], "batch_norm": True, "hidden": [4], "dropout": 0.5}}


def about(run, run_id: str = "one") -> dict:
    config = to_mapping(run.config)
    return {"config": config, "data": run.data.fingerprint, "code": {}, "run_id": run_id, "total_steps": 8}


def save(run, folder: Path) -> Checkpoint:
    return Checkpoint.open(write_checkpoint(folder, Snapshot.of(run.state), about(run)))


def consumer(run, folder: Path, warnings: list[str] | None = None, run_id: str = "one") -> CheckpointSaver:
    told = [] if warnings is None else warnings
    return CheckpointSaver(folder, run.state, run.config.checkpoint, about(run, run_id), told.append)


def same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(got) == list(expected)
    for name in got:
        assert got[name].dtype == expected[name].dtype, name
        assert got[name].shape == expected[name].shape, name
        assert got[name].tobytes() == expected[name].tobytes(), name


# Bit for bit


@pytest.mark.parametrize(
    "changes",
    [
        DEEP | {"optimizer": {"name": "adam", "amsgrad": True}, "ema_decay": 0.9},
        DEEP | {"optimizer": {"name": "sgd", "momentum": 0.9}, "schedule": "cosine", "warmup_steps": 2},
        DEEP | {"precision": "bfloat16"},
        {"precision": "float64", "validation": 10},
        {"model": {"name": "dcgan", "latent": 3, "width": 2}, "task": "gan"},
    ],
    ids=["adam-ema", "sgd-schedule", "bfloat16", "float64", "gan"],
)
def test_every_variable_comes_back_bit_for_bit(trainer, tmp_path: Path, changes: dict) -> None:
    run, other = trainer(**changes), trainer(**changes, seed=1)
    run.fit_until(3)
    expected = run.everything()
    assert not np.array_equal(next(iter(other.everything().values())), next(iter(expected.values())))
    save(run, tmp_path).restore(other.state)
    same(other.everything(), expected)
    assert other.state.weights_sha256() == run.state.weights_sha256()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "uint8", "int64", "uint32", "bool"])
def test_variables_of_every_type(trainer, tmp_path: Path, dtype: str) -> None:
    class Odd(keras.layers.Layer):
        def build(self, shape: tuple) -> None:
            self.odd = self.add_weight(shape=(2, 3), dtype=dtype, trainable=False, initializer="ones", autocast=False)
            self.scalar = self.add_weight(shape=(), dtype=dtype, trainable=False, initializer="zeros", autocast=False)

        def call(self, inputs: tf.Tensor) -> tf.Tensor:
            return inputs

    def make():
        layers = [keras.Input((8, 8, 1)), Odd(), keras.layers.Flatten(), keras.layers.Dense(3)]
        return trainer(net=keras.Sequential(layers))

    run, other = make(), make()
    run.state.model.layers[0].odd.assign([[0, 1, 1], [1, 0, 1]])
    checkpoint = save(run, tmp_path)
    assert checkpoint.arrays()["models/model/0000"].dtype.name == dtype
    checkpoint.restore(other.state)
    same(other.everything(), run.everything())


def test_arrays_that_lie_otherwise_in_memory_are_saved_right(trainer, tmp_path: Path) -> None:
    snapshot = Snapshot.of(trainer().state)
    assert all(array.flags.c_contiguous for array in snapshot.arrays.values())


def test_a_snapshot_does_not_change_as_training_goes_on(trainer) -> None:
    run = trainer(**DEEP)
    snapshot, before = Snapshot.of(run.state), run.everything()
    run.fit()
    same(dict(snapshot.arrays), before)


def test_a_run_that_is_restored_again_and_again_ends_like_one_that_never_stopped(trainer, tmp_path: Path) -> None:
    """In the middle of an epoch (2, 5) and at its end (4)."""
    changes = DEEP | {"ema_decay": 0.9, "validation": 10, "augment": ["affine"], "steps_per_execution": 1, "epochs": 2}
    whole = trainer(**changes)
    expected = [(epoch.epoch, epoch.train, epoch.validation, epoch.best) for epoch in whole.fit()]
    assert whole.data.steps_per_epoch == 4

    told, run = [], trainer(**changes)
    for stop in (2, 4, 5, 8):
        for event in run.events():
            if isinstance(event, EpochDone):
                told.append((event.epoch, event.train, event.validation, event.best))
            elif int(run.state.step) == stop < 8:
                break
        checkpoint, run = save(run, tmp_path), trainer(**changes)
        checkpoint.restore(run.state)
        keras.utils.set_random_seed(99)  # all that matters has to come out of the checkpoint
    same(run.everything(), whole.everything())
    assert told == expected


# What is refused


@pytest.fixture(scope="module")
def original(trainer, tmp_path_factory: pytest.TempPathFactory):
    """A run, and a checkpoint of it that nobody changes."""
    run = trainer(**DEEP)
    return save(run, tmp_path_factory.mktemp("original")), run


@pytest.fixture
def checkpoint(original, tmp_path: Path):
    """A copy of that checkpoint, to damage."""
    saved, run = original
    shutil.copytree(saved.path, tmp_path / saved.path.name)
    return Checkpoint(tmp_path / saved.path.name, saved.manifest), run


def refused(make, *said: str) -> None:
    with pytest.raises(TfloopError) as caught:
        make()
    assert caught.value.code == ExitCode.CHECKPOINT
    for text in said:
        assert text in str(caught.value)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def grow(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b" ")


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def delete(file: Path) -> None:
    file.unlink()


def make_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def make_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def make_a_picture(file: Path) -> None:
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))


@pytest.mark.parametrize("name", [MANIFEST, STATE])
@pytest.mark.parametrize(
    "damage",
    [cut, grow, flip_a_bit, empty, delete, make_a_folder, make_a_pipe, make_a_picture],
    ids=lambda one: one.__name__,
)
def test_a_damaged_file_is_named_and_nothing_is_restored(checkpoint, name: str, damage) -> None:
    saved, run = checkpoint
    before = run.everything()
    damage(saved.path / name)
    refused(lambda: restore(Checkpoint.open(saved.path), run.state), str(saved.path), name)
    same(run.everything(), before)


@pytest.mark.parametrize(
    "content", ["[]", "null", "3", '"text"', "{}", '{"schema": 1}', "[" * 10_000, '{"schema": 99}']
)
def test_a_manifest_that_is_none(checkpoint, content: str) -> None:
    (checkpoint[0].path / MANIFEST).write_text(content)
    refused(lambda: Checkpoint.open(checkpoint[0].path), MANIFEST)


@pytest.mark.parametrize("key", ["step", "epoch", "config", "sha256", "size", "data", "code", "run_id"])
def test_a_manifest_that_was_edited(checkpoint, key: str) -> None:
    file = checkpoint[0].path / MANIFEST
    manifest = json.loads(file.read_text())
    manifest[key] = 0 if isinstance(manifest[key], str) else "changed"
    file.write_text(json.dumps(manifest, indent=2) + "\n")
    refused(lambda: Checkpoint.open(checkpoint[0].path), MANIFEST)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    refused(lambda: Checkpoint.open(tmp_path / "step-00000001"), "step-00000001", MANIFEST)


def test_the_state_of_another_checkpoint(trainer, tmp_path: Path) -> None:
    run = trainer()
    first = save(run, tmp_path)
    run.fit_until(1)
    second = save(run, tmp_path)
    (second.path / STATE).write_bytes((first.path / STATE).read_bytes())
    refused(lambda: restore(Checkpoint.open(second.path), run.state), STATE)


def test_a_checkpoint_under_another_steps_name(checkpoint) -> None:
    moved = checkpoint[0].path.rename(checkpoint[0].path.with_name("step-00000007"))
    refused(lambda: Checkpoint.open(moved), "step 0")


def test_a_checkpoint_that_was_moved_elsewhere_is_good(checkpoint, tmp_path: Path) -> None:
    saved, run = checkpoint
    moved = saved.path.rename(tmp_path / "my best one")
    restore(Checkpoint.open(moved), run.state)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"name": "mlp", "hidden": [4]}}, "of another model"),
        ({"model": DEEP["model"] | {"hidden": [5]}}, "(72, 4) in it and float32 (72, 5) here"),
        ({"model": DEEP["model"] | {"dropout": 0.0}}, "of another model"),
        (DEEP | {"optimizer": {"name": "sgd"}}, "which this model has not"),
        (DEEP | {"ema_decay": 0.5}, "it has no `averages/model/0000`"),
        (DEEP | {"precision": "float64"}, "float32"),
        ({"model": {"name": "dcgan", "latent": 3, "width": 2}, "task": "gan"}, "of another model"),
    ],
    ids=["mlp", "wider", "no dropout", "optimizer", "average", "precision", "gan"],
)
def test_another_model_is_refused_and_left_as_it_was(trainer, checkpoint, changes: dict, said: str) -> None:
    other = trainer(**changes)
    before = other.everything()
    refused(lambda: checkpoint[0].restore(other.state), said)
    same(other.everything(), before)


# What is kept


def events(run, folder: Path, checkpoints: CheckpointSaver | None = None) -> CheckpointSaver:
    """A whole run, as the command does it."""
    with checkpoints or consumer(run, folder) as checkpoints:
        for event in run.events():
            checkpoints.handle(event)
    return checkpoints


class Script:
    """Events as a run would tell them, with validations of the test's choice."""

    def __init__(self, run, checkpoints: CheckpointSaver) -> None:
        self.run, self.checkpoints = run, checkpoints

    def epoch(self, best: bool) -> Event:
        self.run.state.step.assign_add(4)
        self.run.state.epoch.assign_add(1)
        if best:
            self.run.state.best_step.assign(self.run.state.step)
        step, epoch = int(self.run.state.step), int(self.run.state.epoch)
        event = EpochDone(epoch, step, {}, None, 1.0, 0.0, 1.0, best=best)
        self.checkpoints.handle(event)
        return event


@pytest.mark.parametrize(
    ("bests", "schedule", "kept", "best"),
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
def test_the_newest_and_the_best_are_kept(trainer, tmp_path, bests, schedule, kept, best) -> None:
    run = trainer(checkpoint=schedule)
    with consumer(run, tmp_path) as checkpoints:
        script = Script(run, checkpoints)
        for one in bests:
            script.epoch(one)
        checkpoints.handle(Stopped("completed", int(run.state.step)))
    there = [Checkpoint.open(path).manifest["step"] for path in list_checkpoints(tmp_path)]
    assert there == kept
    assert checkpoints.last == list_checkpoints(tmp_path)[-1]
    assert (checkpoints.best and Checkpoint.open(checkpoints.best).manifest["step"]) == best
    if best and schedule.get("best", True):
        assert Checkpoint.open(checkpoints.last).best() == checkpoints.best
    assert [path for path in tmp_path.iterdir() if path not in list_checkpoints(tmp_path)] == []


def test_the_best_weights_come_back(trainer, tmp_path: Path) -> None:
    run = trainer()
    with consumer(run, tmp_path) as checkpoints:
        script = Script(run, checkpoints)
        script.epoch(best=True)
        best = run.everything()
        run.state.model.trainable_variables[0].assign_add(tf.ones_like(run.state.model.trainable_variables[0]))
        script.epoch(best=False)
        checkpoints.handle(Stopped("completed", 8))
    assert checkpoints.restore_best() == checkpoints.best
    same(run.everything(), best)


def test_a_whole_run_leaves_its_last_state(trainer, tmp_path: Path) -> None:
    run = trainer(validation=10)
    checkpoints = events(run, tmp_path)
    manifest = Checkpoint.open(checkpoints.last).manifest
    assert (manifest["step"], manifest["epoch"]) == (8, 2)
    assert manifest["weights_sha256"] == run.state.weights_sha256()
    assert manifest["best_step"] == int(run.state.best_step) in (4, 8)


def test_a_state_is_saved_once(trainer, tmp_path: Path) -> None:
    run = trainer()
    with consumer(run, tmp_path) as checkpoints:
        Script(run, checkpoints).epoch(best=True)
        checkpoints.handle(Stopped("completed", 4))
        checkpoints.handle(Stopped("completed", 4))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000004"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["models/", "optimizers/", "ema/"])
def test_nothing_that_is_not_finite_is_saved(trainer, tmp_path: Path, part: str, value: float) -> None:
    run = trainer(ema_decay=0.9)
    with consumer(run, tmp_path) as checkpoints:
        script = Script(run, checkpoints)
        script.epoch(best=False)
        name, variable = [
            (name, one)
            for name, one in run.state.variables().items()
            if name.startswith(part) and one.dtype.is_floating
        ][-1]
        spoiled = variable.numpy()
        spoiled.flat[-1] = value
        variable.assign(spoiled)
        with pytest.raises(TfloopError, match="not finite") as caught:
            script.epoch(best=True)
    assert caught.value.code == ExitCode.DIVERGED
    assert name in str(caught.value)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000004"]


def test_what_an_interrupted_save_left_is_swept(trainer, tmp_path: Path) -> None:
    run = trainer()
    good = save(run, tmp_path).path
    for name in (".staging-123", ".removed-step-00000001"):
        (tmp_path / name).mkdir()
        (tmp_path / name / STATE).write_bytes(b"half")
    assert list_checkpoints(tmp_path) == [good]
    consumer(run, tmp_path)
    assert list(tmp_path.iterdir()) == [good]


# Going on


def test_going_on_takes_the_newest_good_one_and_names_the_damaged(trainer, tmp_path: Path) -> None:
    run = trainer()
    first = save(run, tmp_path)
    run.fit_until(1)
    second = save(run, tmp_path)
    run.fit_until(2)
    third, state = save(run, tmp_path), Checkpoint.open(second.path).arrays()
    cut(third.path / STATE)
    warnings: list[str] = []
    other = trainer(seed=5)
    taken = consumer(other, tmp_path, warnings).resume(None)
    assert taken.path == second.path
    assert other.everything()["models/model/0000"].tobytes() == state["models/model/0000"].tobytes()
    assert len(warnings) == 1
    assert third.path.name in warnings[0]
    assert first.path.is_dir()


def test_going_on_with_nothing(trainer, tmp_path: Path) -> None:
    run = trainer()
    before = run.everything()
    assert consumer(run, tmp_path / "checkpoints").resume(None) is None
    same(run.everything(), before)


def test_going_on_from_a_damaged_one_that_was_asked_for_is_an_error(trainer, tmp_path: Path) -> None:
    run = trainer()
    saved = save(run, tmp_path)
    cut(saved.path / STATE)
    refused(lambda: consumer(run, tmp_path).resume(saved.path), STATE)


def test_a_foreign_checkpoint_in_the_folder_is_not_taken(trainer, tmp_path: Path) -> None:
    run = trainer()
    save(run, tmp_path)
    warnings: list[str] = []
    refused(lambda: consumer(run, tmp_path, warnings, run_id="two").resume(None), "none of the 1 checkpoints")
    assert "of another run" in warnings[0]
