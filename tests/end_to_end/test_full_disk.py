"""Promise: a disk that is full, read-only or gone costs no training: it is told once, and tried again."""

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tfloop_cli.engine.checkpoints import saver as saving
from tfloop_cli.engine.checkpoints.format import Snapshot, restore
from tfloop_cli.engine.checkpoints.saver import CheckpointSaver
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import EpochDone
from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints

ROOT = Path(__file__).parents[2]
ABOUT = {"config": {}, "data": "", "code": {}, "run_id": "one", "total_steps": 9}
CONFIG: dict[str, Any] = {
    "dataset": {"name": "synthetic", "shape": [8, 8, 1], "classes": 3, "train_examples": 512, "test_examples": 16},
    "model": {"name": "mlp", "hidden": [512]},  # its state is larger than the rest of a run folder
    "epochs": 3,
    "batch_size": 16,
    "device": "cpu",
    "threads": 1,
}


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_each_phase_of_a_save(tmp_path: Path) -> None:
    """The short form of `python -m benchmarks.durability disk`."""
    command = [sys.executable, "-m", "benchmarks.durability", "disk", "--quick", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@contextmanager
def full_disk(size: int = 1000) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes."""
    limits, before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@pytest.fixture
def saver(trainer, tmp_path: Path):
    run, warnings = trainer(epochs=4), []
    with CheckpointSaver(
        tmp_path / "checkpoints", run.state, run.config.checkpoint, ABOUT, warnings.append
    ) as checkpoints:
        yield run, checkpoints, warnings


def epochs(run, checkpoints) -> Iterator[int]:
    """Trains; gives the number of each epoch before its checkpoint is asked for, and waits for it."""
    for event in run.events():
        if isinstance(event, EpochDone):
            yield event.epoch
        checkpoints.handle(event)
        checkpoints._wait()


def test_a_full_disk_is_told_once_and_tried_again(saver, tmp_path: Path) -> None:
    run, checkpoints, warnings = saver
    training = epochs(run, checkpoints)
    next(training)
    next(training)  # the first epoch is saved
    first = list_checkpoints(tmp_path / "checkpoints")
    with full_disk():
        next(training)
        next(training)
        assert list_checkpoints(tmp_path / "checkpoints") == first
        assert len([line for line in warnings if "could not be saved" in line]) == 1
        assert "File too large" in warnings[0]
    assert not list(training)  # there is room again
    (last,) = list_checkpoints(tmp_path / "checkpoints")
    assert Checkpoint.open(last).manifest["epoch"] == 4


def test_a_disk_that_stays_full_is_exit_75_and_the_old_one_loads(saver, tmp_path: Path) -> None:
    run, checkpoints, warnings = saver
    training = epochs(run, checkpoints)
    next(training)
    next(training)
    with full_disk(), pytest.raises(TfloopError, match="could not be saved") as caught:
        list(training)
    assert caught.value.code == ExitCode.TRY_AGAIN
    (first,) = list_checkpoints(tmp_path / "checkpoints")
    restore(Checkpoint.open(first), run.state)
    assert [path.name for path in first.parent.iterdir()] == [first.name]
    assert len([line for line in warnings if "could not be saved" in line]) == 1


def test_the_best_one_is_not_lost_by_a_save_that_failed(trainer, tmp_path: Path) -> None:
    run = trainer(epochs=3, validation=10)
    with CheckpointSaver(tmp_path, run.state, run.config.checkpoint, ABOUT, lambda text: None) as checkpoints:
        for event in run.events():
            if isinstance(event, EpochDone):
                with full_disk(1000 if event.epoch == 1 else 2**40):
                    checkpoints.handle(EpochDone(**(vars(event) | {"best": event.epoch == 1})))
                    checkpoints._wait()
    assert Checkpoint.open(checkpoints.best).manifest["epoch"] == 1
    assert Checkpoint.open(checkpoints.last).manifest["epoch"] == 3


def test_the_best_one_is_written_once_whatever_becomes_of_the_next(trainer, tmp_path: Path, monkeypatch) -> None:
    """The disk fails at the first save, of the best epoch, and at the third, which is the second epoch's own."""
    tried: list[int] = []

    def write_checkpoint(folder: Path, snapshot: Snapshot, about: dict[str, Any]) -> Path:
        tried.append(int(snapshot.facts["epoch"]))
        if len(tried) in (1, 3):
            raise OSError(28, "No space left on device")
        return real(folder, snapshot, about)

    real = saving.write_checkpoint
    monkeypatch.setattr(saving, "write_checkpoint", write_checkpoint)
    run = trainer(epochs=3, validation=10)
    with CheckpointSaver(tmp_path, run.state, run.config.checkpoint, ABOUT, lambda text: None) as checkpoints:
        for event in run.events():
            if isinstance(event, EpochDone):
                checkpoints.handle(EpochDone(**(vars(event) | {"best": event.epoch == 1})))
                checkpoints._wait()
    assert tried == [1, 1, 2, 3]
    assert Checkpoint.open(checkpoints.best).manifest["epoch"] == 1
    assert Checkpoint.open(checkpoints.last).manifest["epoch"] == 3


def test_an_old_checkpoint_that_cannot_be_removed_is_no_failed_save(saver, tmp_path: Path, monkeypatch) -> None:
    run, checkpoints, warnings = saver

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("tfloop_cli.engine.checkpoints.saver.remove", refuse)
    list(epochs(run, checkpoints))
    assert Checkpoint.open(checkpoints.last).manifest["epoch"] == 4
    assert len(list_checkpoints(tmp_path / "checkpoints")) == 4
    assert len(warnings) == 1
    assert "could not be removed" in warnings[0]


@pytest.mark.parametrize("call", ["mkdir", "rename"])
def test_no_permission(saver, tmp_path: Path, monkeypatch, call: str) -> None:
    run, checkpoints, warnings = saver
    training = epochs(run, checkpoints)
    next(training)
    next(training)
    kept = getattr(Path, call)

    def refuse(path: Path, *arguments: object, **keywords: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, call, refuse)
    next(training)
    assert "Permission denied" in warnings[0]
    next(training)
    monkeypatch.setattr(Path, call, kept)
    assert not list(training)
    assert Checkpoint.open(checkpoints.last).manifest["epoch"] == 4


# Whole processes


def tmpfs(folder: Path, *options: str) -> bool:
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    return not subprocess.run(command, capture_output=True, check=False).returncode


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB, on which one checkpoint has room and two have not."""
    if not tmpfs(tmp_path / "disk", "size=1000k"):
        pytest.skip("no right to mount a tmpfs")
    yield tmp_path / "disk"
    subprocess.run(["umount", "-l", str(tmp_path / "disk")], check=True)


def test_a_whole_training_on_a_small_disk(shell, small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(json.dumps(CONFIG))
    done = shell.run("train", "-c", "net.yaml", "-o", small_disk / "run", cwd=tmp_path)
    assert done.code == ExitCode.TRY_AGAIN, done.err
    assert "Traceback" not in done.err
    assert done.err.count("could not be saved to") == 2  # the warning, and the error at the end
    assert "No space left on device" in done.err
    assert "epoch 3/3" in done.err  # the training went on
    for path in list_checkpoints(small_disk / "run" / "checkpoints"):
        Checkpoint.open(path).arrays()
    assert Checkpoint.open(path).manifest["epoch"] < 3

    subprocess.run(["mount", "-o", "remount,size=9000k", str(small_disk)], check=True)
    done = shell.run("train", "-o", small_disk / "run", "--resume", cwd=tmp_path)
    assert done.code == 0, done.err
    assert Checkpoint.open(list_checkpoints(small_disk / "run" / "checkpoints")[-1]).manifest["epoch"] == 3


def test_a_read_only_disk_is_said_before_the_training(shell, small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(json.dumps(CONFIG))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = shell.run("train", "-c", "net.yaml", "-o", small_disk / "run", cwd=tmp_path)
    assert done.code == ExitCode.USAGE
    assert "Read-only file system" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("back", [False, True], ids=["for good", "for a while"])
def test_the_run_folder_is_taken_away_while_it_trains(shell, tmp_path: Path, back: bool) -> None:
    (tmp_path / "net.yaml").write_text(json.dumps(CONFIG | {"epochs": 100_000}))
    process = shell.start("train", "-c", "net.yaml", "-o", "run", cwd=tmp_path)
    try:
        while not list((tmp_path / "run" / "checkpoints").glob("step-*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        time.sleep(1.5)
        if back:
            (tmp_path / "elsewhere").rename(tmp_path / "run")
            time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert "Traceback" not in said, said
    assert process.returncode == (ExitCode.TERMINATED if back else ExitCode.TRY_AGAIN), said
    assert said.count("training goes on; it will be tried again") == 1
    folder = tmp_path / ("run" if back else "elsewhere")
    Checkpoint.open(list_checkpoints(folder / "checkpoints")[-1]).arrays()
    if back:
        told = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        numbers = [line["epoch"] for line in told if line["event"] == "epoch"]
        assert numbers == list(range(1, len(numbers) + 1))
        assert (folder / "summary.json").exists()
