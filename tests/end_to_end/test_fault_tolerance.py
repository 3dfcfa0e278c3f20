"""Guarantee: a process may be killed at any moment; a complete checkpoint remains, and resuming from it is exact.

The first tests are the short forms of benchmarks/durability.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tfloop_cli.engine.checkpoints.manager import CheckpointManager
from tfloop_cli.engine.checkpoints.storage import write_checkpoint
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import EpochDone, Progress, Stopped
from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints

ROOT = Path(__file__).parents[2]
FACTS = {"config": {}, "data": "", "code": {}, "run_id": "one", "total_steps": 9, "train_examples": 1}
WRITE_CHECKPOINT = "tfloop_cli.engine.checkpoints.manager.write_checkpoint"
TRACED_SECTIONS = {"order", "syscalls", "disk"}


@pytest.mark.parametrize("section", ["order", "syscalls", "disk", "kills", "resume"])
def test_durability_section_passes(section: str, tmp_path: Path) -> None:
    """Runs each section in its own process, because some fork it and others choose its number of threads."""
    if section in TRACED_SECTIONS and not shutil.which("strace"):
        pytest.skip("strace is not installed")
    command = [sys.executable, "-m", "benchmarks.durability", section, "--quick", "--folder", str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    assert "FAILED" not in process.stdout


def test_corruption_section_fails_without_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a section that never fails would prove nothing."""
    from benchmarks.durability import common, corruption

    monkeypatch.setattr("tfloop_cli.engine.checkpoints.storage.hashlib.sha256", lambda content=b"": ConstantDigest())
    campaign = common.Campaign(tmp_path, quick=True)
    corruption.corruption(campaign, tmp_path)
    assert not campaign.held


class ConstantDigest:
    """A hash that is the same for every content."""

    def update(self, content: bytes) -> None:
        pass

    def hexdigest(self) -> str:
        return "0" * 64


# When checkpoints are saved


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def make_manager(trainer, directory: Path) -> Callable[..., tuple]:
    """Returns a function that creates a run of 2 epochs with 15 steps each, and its checkpoint manager."""

    def make_manager(**checkpoint):
        run = trainer(checkpoint=checkpoint, steps_per_execution=7, batch_size=4, epochs=2)
        return run, CheckpointManager(directory, run.state, run.config.checkpoint, FACTS, print)

    return make_manager


def train(run, manager) -> Iterator:
    """Trains and saves; yields each event after it was handled."""
    for event in run.events():
        manager.handle(event)
        yield event


def step_of(checkpoint: Path) -> int:
    return Checkpoint.open(checkpoint).manifest["step"]


@pytest.mark.parametrize("every_steps", [1, 4, 15, 100])
def test_every_steps_saves_at_exact_steps(make_manager, directory: Path, every_steps: int) -> None:
    run, manager = make_manager(every_steps=every_steps, keep=99)
    assert run.data.steps_per_epoch == 15
    with manager:
        list(train(run, manager))
    assert {step_of(path) for path in list_checkpoints(directory)} == {*range(every_steps, 31, every_steps), 15, 30}


def test_every_seconds_saves_between_steps(make_manager) -> None:
    run, manager = make_manager(every_seconds=1e-9, keep=99)
    with manager:
        for event in train(run, manager):
            if isinstance(event, Progress):
                manager.finish()
                assert step_of(manager.last) == event.step


def test_save_waits_for_the_previous_one_and_none_is_dropped(make_manager, directory: Path, monkeypatch) -> None:
    def write_slowly(*arguments):
        time.sleep(0.05)
        return write_checkpoint(*arguments)

    monkeypatch.setattr(WRITE_CHECKPOINT, write_slowly)
    run, manager = make_manager(every_steps=1, keep=99)
    started = time.monotonic()
    with manager:
        for _ in zip(range(6), train(run, manager), strict=False):
            pass
        manager.finish()
    assert len(list_checkpoints(directory)) == 6
    assert time.monotonic() - started > 6 * 0.05


def test_training_continues_while_a_checkpoint_is_written(make_manager, directory: Path, monkeypatch) -> None:
    may_write = threading.Event()

    def write_later(*arguments):
        assert may_write.wait(30)
        return write_checkpoint(*arguments)

    monkeypatch.setattr(WRITE_CHECKPOINT, write_later)
    run, manager = make_manager()
    with manager:
        events = train(run, manager)
        epoch = next(event for event in events if isinstance(event, EpochDone))
        assert isinstance(next(events), Progress)  # of the next epoch
        assert not list_checkpoints(directory)
        may_write.set()
    (saved,) = list_checkpoints(directory)
    assert step_of(saved) == epoch.step


# Which checkpoints are kept


def test_damaged_checkpoints_do_not_count_as_kept(make_manager, directory: Path) -> None:
    """With `keep: 1` and a damaged newest checkpoint, the one before is kept until a newer one is saved."""
    run, manager = make_manager(keep=3, every_steps=5)
    with manager:
        next(event for event in train(run, manager) if isinstance(event, Progress) and event.step == 15)
    *_, good, damaged = list_checkpoints(directory)
    (damaged / "state.safetensors").write_bytes(b"")

    run, manager = make_manager(keep=1, every_steps=5)
    assert manager.restore(None).path == good
    available = list_checkpoints(directory)
    assert available[-1] == good
    assert (directory / f"aside-{damaged.name}").is_dir()
    with manager:
        manager.handle(Stopped("SIGTERM", 10))  # this state is already saved
        assert list_checkpoints(directory) == available
        list(train(run, manager))
    assert step_of(manager.last) == 30
    assert list_checkpoints(directory) == [manager.last]


def test_run_without_usable_checkpoints_is_an_error_and_removes_nothing(make_manager, directory: Path) -> None:
    run, manager = make_manager()
    with manager:
        list(train(run, manager))
    (directory / "step-00000030" / "manifest.json").unlink()
    _, manager = make_manager()
    with pytest.raises(TfloopError, match="none of the 1 checkpoints") as caught:
        manager.restore(None)
    assert caught.value.code == ExitCode.CHECKPOINT
    assert (directory / "step-00000030").is_dir()


def test_missing_best_checkpoint_is_reported_and_the_last_one_evaluated(trainer, tmp_path: Path, capsys) -> None:
    run = trainer(validation=10, epochs=3)
    with CheckpointManager(tmp_path, run.state, run.config.checkpoint, FACTS, print) as manager:
        list(train(run, manager))
        last = write_checkpoint(tmp_path, run.state.snapshot(), FACTS)
        manager.best, manager.last = tmp_path / "step-00000001", last
        assert manager.restore_best() == last
    assert "the last weights are evaluated instead" in capsys.readouterr().out


def test_second_process_cannot_train_in_the_same_folder(shell, tmp_path: Path) -> None:
    config = {
        "dataset": {"name": "synthetic", "shape": [8, 8, 1], "train_examples": 4096},
        "model": "linear",
        "epochs": 9999,
        "device": "cpu",
        "threads": 1,
    }
    (tmp_path / "linear.yaml").write_text(json.dumps(config))
    first = shell.start("train", "-c", "linear.yaml", "-o", "run", "-q", cwd=tmp_path)
    try:
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            assert first.poll() is None
            time.sleep(0.05)
        second = shell.run("train", "-o", "run", "--resume", cwd=tmp_path)
        assert second.code == ExitCode.USAGE
        assert f"pid {first.pid} on {os.uname().nodename}" in second.err
    finally:
        first.kill()
        first.communicate()
