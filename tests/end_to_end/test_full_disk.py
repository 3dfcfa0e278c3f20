"""Guarantee: training continues if the disk is full, read-only or missing; one warning is printed, and saves retry."""

import json
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tfloop_cli.engine.checkpoints import manager as manager_module
from tfloop_cli.engine.checkpoints.manager import CheckpointManager
from tfloop_cli.engine.checkpoints.storage import read_arrays, restore
from tfloop_cli.engine.snapshot import Snapshot
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import EpochDone
from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints

FACTS = {"config": {}, "data": "", "code": {}, "run_id": "one", "total_steps": 9, "train_examples": 1}
CONFIG: dict[str, Any] = {
    "dataset": {"name": "synthetic", "shape": [8, 8, 1], "classes": 3, "train_examples": 512, "test_examples": 16},
    "model": {"name": "mlp", "hidden": [512]},  # its state is larger than the rest of a run folder
    "epochs": 3,
    "batch_size": 16,
    "device": "cpu",
    "threads": 1,
}


@contextmanager
def full_disk(max_bytes: int = 1000) -> Iterator[None]:
    """A context in which no file of this process may become larger than `max_bytes`."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def make_manager(trainer, directory: Path, warnings: list[str]):
    """Returns a function that creates a run and its checkpoint manager."""

    def make_manager(**config):
        run = trainer(**config)
        return run, CheckpointManager(directory, run.state, run.config.checkpoint, FACTS, warnings.append)

    return make_manager


@pytest.fixture
def four_epochs(make_manager):
    run, manager = make_manager(epochs=4)
    with manager:
        yield run, manager


def train(run, manager, best_epoch: int | None = None) -> Iterator[int]:
    """Trains; yields the number of each epoch before its checkpoint is requested, and waits until it is written."""
    for event in run.events():
        if isinstance(event, EpochDone):
            yield event.epoch
            if best_epoch is not None:
                event = EpochDone(**(vars(event) | {"best": event.epoch == best_epoch}))
        manager.handle(event)
        manager._wait()


def count_failures(warnings: list[str]) -> int:
    return len([line for line in warnings if "could not be saved" in line])


def epoch_of(checkpoint: Path) -> int:
    return Checkpoint.open(checkpoint).manifest["epoch"]


def test_full_disk_is_reported_once_and_the_save_retried(four_epochs, directory: Path, warnings: list[str]) -> None:
    epochs = train(*four_epochs)
    next(epochs)
    next(epochs)  # the first epoch is saved
    saved = list_checkpoints(directory)
    with full_disk():
        next(epochs)
        next(epochs)
        assert list_checkpoints(directory) == saved
        assert count_failures(warnings) == 1
        assert "File too large" in warnings[0]
    assert not list(epochs)  # the disk has space again
    (last,) = list_checkpoints(directory)
    assert epoch_of(last) == 4


def test_permanently_full_disk_exits_75_and_keeps_the_old_checkpoint(
    four_epochs, directory: Path, warnings: list[str]
) -> None:
    run, _ = four_epochs
    epochs = train(*four_epochs)
    next(epochs)
    next(epochs)
    with full_disk(), pytest.raises(TfloopError, match="could not be saved") as caught:
        list(epochs)
    assert caught.value.code == ExitCode.TRY_AGAIN
    (saved,) = list_checkpoints(directory)
    restore(Checkpoint.open(saved), run.state)
    assert [path.name for path in directory.iterdir()] == [saved.name]
    assert count_failures(warnings) == 1


def test_failed_save_of_the_best_epoch_is_retried(make_manager) -> None:
    run, manager = make_manager(epochs=3, validation=10)
    with manager:
        epochs = train(run, manager, best_epoch=1)
        next(epochs)
        with full_disk():
            next(epochs)
        assert list(epochs) == [3]
    assert epoch_of(manager.best) == 1
    assert epoch_of(manager.last) == 3


def test_best_checkpoint_is_written_once_if_the_next_save_fails(make_manager, monkeypatch) -> None:
    """The first save, of the best epoch, fails. It is repeated before the save of the second epoch, which fails too."""
    requested: list[int] = []
    write_checkpoint = manager_module.write_checkpoint

    def fail_first_and_third(directory: Path, snapshot: Snapshot, *rest: Any) -> Path:
        requested.append(int(snapshot.facts["epoch"]))
        if len(requested) in (1, 3):
            raise OSError(28, "No space left on device")
        return write_checkpoint(directory, snapshot, *rest)

    monkeypatch.setattr(manager_module, "write_checkpoint", fail_first_and_third)
    run, manager = make_manager(epochs=3, validation=10)
    with manager:
        list(train(run, manager, best_epoch=1))
    assert requested == [1, 1, 2, 3]
    assert epoch_of(manager.best) == 1
    assert epoch_of(manager.last) == 3


def permission_denied(path: Path, *arguments: object, **keywords: object) -> None:
    raise PermissionError(13, "Permission denied", str(path))


def test_failed_removal_of_an_old_checkpoint_does_not_fail_the_save(
    four_epochs, directory: Path, warnings: list[str], monkeypatch
) -> None:
    monkeypatch.setattr(manager_module, "remove", permission_denied)
    list(train(*four_epochs))
    _, manager = four_epochs
    assert epoch_of(manager.last) == 4
    assert len(list_checkpoints(directory)) == 4
    assert len(warnings) == 1
    assert "could not be removed" in warnings[0]


@pytest.mark.parametrize("method", ["mkdir", "rename"])
def test_save_is_retried_after_permission_error(four_epochs, warnings: list[str], monkeypatch, method: str) -> None:
    epochs = train(*four_epochs)
    next(epochs)
    next(epochs)
    with monkeypatch.context() as patches:
        patches.setattr(Path, method, permission_denied)
        next(epochs)
        assert "Permission denied" in warnings[0]
        next(epochs)
    assert not list(epochs)
    _, manager = four_epochs
    assert epoch_of(manager.last) == 4


# The command


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 800 kB, which has space for one checkpoint but not for two."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is not permitted")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mlp.yaml").write_text(json.dumps(CONFIG))
    return tmp_path


def test_run_on_a_full_disk_can_be_resumed(shell, small_disk: Path, folder: Path) -> None:
    checkpoints = small_disk / "run" / "checkpoints"
    process = shell.run("train", "-c", "mlp.yaml", "-o", small_disk / "run", cwd=folder)
    assert process.code == ExitCode.TRY_AGAIN, process.err
    assert "Traceback" not in process.err
    assert process.err.count("could not be saved to") == 2  # the warning, and the error at the end
    assert "No space left on device" in process.err
    assert "epoch 3/3" in process.err  # training continued
    for path in list_checkpoints(checkpoints):
        read_arrays(Checkpoint.open(path))
    assert epoch_of(path) < 3

    remount(small_disk, "size=9000k")
    process = shell.run("train", "-o", small_disk / "run", "--resume", cwd=folder)
    assert process.code == 0, process.err
    assert epoch_of(list_checkpoints(checkpoints)[-1]) == 3


def test_read_only_disk_is_reported_before_training(shell, small_disk: Path, folder: Path) -> None:
    remount(small_disk, "ro")
    process = shell.run("train", "-c", "mlp.yaml", "-o", small_disk / "run", cwd=folder)
    assert process.code == ExitCode.USAGE
    assert "Read-only file system" in process.err
    assert "Traceback" not in process.err


@pytest.mark.parametrize("moved_back", [False, True])
def test_run_folder_is_moved_away_during_training(shell, folder: Path, moved_back: bool) -> None:
    (folder / "mlp.yaml").write_text(json.dumps(CONFIG | {"epochs": 100_000}))
    run, elsewhere = folder / "run", folder / "elsewhere"
    process = shell.start("train", "-c", "mlp.yaml", "-o", "run", cwd=folder)
    try:
        while not list((run / "checkpoints").glob("step-*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        run.rename(elsewhere)
        time.sleep(1.5)
        if moved_back:
            elsewhere.rename(run)
            time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert "Traceback" not in stderr, stderr
    assert process.returncode == (ExitCode.TERMINATED if moved_back else ExitCode.TRY_AGAIN), stderr
    assert stderr.count("training continues; the next save tries again") == 1
    remaining = run if moved_back else elsewhere
    read_arrays(Checkpoint.open(list_checkpoints(remaining / "checkpoints")[-1]))
    if moved_back:
        documents = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        epochs = [document["epoch"] for document in documents if document["event"] == "epoch"]
        assert epochs == list(range(1, len(epochs) + 1))
        assert (run / "summary.json").exists()
