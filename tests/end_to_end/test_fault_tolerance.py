"""Promise: kill it at any instant, and an old or a new checkpoint is whole; short forms of benchmarks/durability."""

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tfloop_cli.engine.checkpoints.format import write_checkpoint
from tfloop_cli.engine.checkpoints.saver import CheckpointSaver
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import EpochDone, Progress, Stopped
from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints

ROOT = Path(__file__).parents[2]


def campaign(section: str, folder: Path) -> None:
    """Runs a section as a user does; in a process of its own, for some fork and all work in threads of their choice."""
    command = [sys.executable, "-m", "benchmarks.durability", section, "--quick", "--folder", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "FAILED" not in done.stdout


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("section", ["order", "syscalls"])
def test_one_commit_call_by_call(section: str, tmp_path: Path) -> None:
    campaign(section, tmp_path)


def test_kills_at_random_instants(tmp_path: Path) -> None:
    campaign("kills", tmp_path)


def test_the_campaign_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign that always says `held` would prove nothing: here the manifest's sums are not looked at."""
    corruption = importlib.import_module("benchmarks.durability.corruption")
    common = importlib.import_module("benchmarks.durability.common")
    monkeypatch.setattr("tfloop_cli.engine.checkpoints.format.hashlib.sha256", lambda content=b"": Blind())
    found = common.Campaign(tmp_path, quick=True)
    corruption.corruption(found, tmp_path)
    assert not found.held


class Blind:
    """A sum that is the same for everything."""

    def update(self, content: bytes) -> None:
        pass

    def hexdigest(self) -> str:
        return "0" * 64


# When it is saved


@pytest.fixture
def saver(trainer, tmp_path: Path) -> Callable[..., tuple]:
    def make(**schedule):
        run = trainer(checkpoint=schedule, steps_per_execution=7, batch_size=4, epochs=2)
        about = {"config": {}, "data": "", "code": {}, "run_id": "one", "total_steps": 9}
        return run, CheckpointSaver(tmp_path / "checkpoints", run.state, run.config.checkpoint, about, print)

    return make


@pytest.mark.parametrize("every", [1, 4, 15, 100])
def test_every_steps_is_kept_to_the_step(saver, tmp_path: Path, every: int) -> None:
    run, checkpoints = saver(every_steps=every, keep=99)
    assert run.data.steps_per_epoch == 15
    with checkpoints:
        for event in run.events():
            checkpoints.handle(event)
    steps = {Checkpoint.open(path).manifest["step"] for path in list_checkpoints(tmp_path / "checkpoints")}
    assert steps == {*range(every, 31, every), 15, 30}


def test_every_seconds(saver, tmp_path: Path) -> None:
    run, checkpoints = saver(every_seconds=1e-9, keep=99)
    with checkpoints:
        for event in run.events():
            checkpoints.handle(event)
            if isinstance(event, Progress):
                checkpoints.finish()
                assert Checkpoint.open(checkpoints.last).manifest["step"] == event.step


def test_a_second_save_waits_for_the_first_and_none_is_dropped(saver, tmp_path: Path, monkeypatch) -> None:
    import time

    def slow(*arguments):
        time.sleep(0.05)
        return write_checkpoint(*arguments)

    monkeypatch.setattr("tfloop_cli.engine.checkpoints.saver.write_checkpoint", slow)
    run, checkpoints = saver(every_steps=1, keep=99)
    started = time.monotonic()
    with checkpoints:
        for _ in zip(range(6), event_by_event(run, checkpoints), strict=False):
            pass
        checkpoints.finish()
    assert len(list_checkpoints(tmp_path / "checkpoints")) == 6
    assert time.monotonic() - started > 6 * 0.05


def event_by_event(run, checkpoints):
    for event in run.events():
        checkpoints.handle(event)
        yield event


def test_the_training_waits_for_the_copy_only(saver, tmp_path: Path, monkeypatch) -> None:
    import threading

    written = threading.Event()

    def held_up(*arguments):
        assert written.wait(30)
        return write_checkpoint(*arguments)

    monkeypatch.setattr("tfloop_cli.engine.checkpoints.saver.write_checkpoint", held_up)
    run, checkpoints = saver()
    with checkpoints:
        events = iter(run.events())
        while not isinstance(event := next(events), EpochDone):
            checkpoints.handle(event)
        checkpoints.handle(event)
        after = next(events)  # the next epoch's steps are done while the save is still held up
        assert isinstance(after, Progress)
        assert not list_checkpoints(tmp_path / "checkpoints")
        written.set()
    (saved,) = list_checkpoints(tmp_path / "checkpoints")
    assert Checkpoint.open(saved).manifest["step"] == event.step


# What is never removed


def test_damaged_ones_do_not_count_among_those_kept(saver, tmp_path: Path) -> None:
    """`keep: 1`, and the newest is damaged: the good one before it stays until there is a better."""
    run, checkpoints = saver(keep=3, every_steps=5)
    with checkpoints:
        for event in run.events():
            checkpoints.handle(event)
            if isinstance(event, Progress) and event.step == 15:
                break
    there = list_checkpoints(tmp_path / "checkpoints")
    (there[-1] / "state.safetensors").write_bytes(b"")

    run, checkpoints = saver(keep=1, every_steps=5)
    taken = checkpoints.resume(None)
    assert taken.path == there[-2]
    left = list_checkpoints(tmp_path / "checkpoints")
    assert left[-1] == there[-2]
    assert (tmp_path / "checkpoints" / f"aside-{there[-1].name}").is_dir()
    with checkpoints:
        checkpoints.handle(Stopped("SIGTERM", 10))  # that very state is saved already
        assert list_checkpoints(tmp_path / "checkpoints") == left
        for event in run.events():
            checkpoints.handle(event)
    assert Checkpoint.open(checkpoints.last).manifest["step"] == 30
    assert list_checkpoints(tmp_path / "checkpoints") == [checkpoints.last]


def test_checkpoints_that_none_can_use_stay_and_nothing_is_begun_over_them(saver, tmp_path: Path) -> None:
    run, checkpoints = saver()
    with checkpoints:
        for event in run.events():
            checkpoints.handle(event)
    (tmp_path / "checkpoints" / "step-00000030" / "manifest.json").unlink()
    run, checkpoints = saver()
    with pytest.raises(TfloopError, match="none of the 1 checkpoints") as caught:
        checkpoints.resume(None)
    assert caught.value.code == ExitCode.CHECKPOINT
    assert (tmp_path / "checkpoints" / "step-00000030").is_dir()


def test_a_best_one_that_is_gone_is_told_and_the_last_is_scored(trainer, tmp_path: Path, capsys) -> None:
    run = trainer(validation=10, epochs=3)
    about = {"config": {}, "data": "", "code": {}, "run_id": "one", "total_steps": 9}
    with CheckpointSaver(tmp_path, run.state, run.config.checkpoint, about, print) as checkpoints:
        for event in run.events():
            checkpoints.handle(event)
        first = write_checkpoint(
            tmp_path, __import__("tfloop_cli.engine.checkpoints.format").engine.checkpoint.Snapshot.of(run.state), about
        )
        checkpoints.best, checkpoints.last = tmp_path / "step-00000001", first
        assert checkpoints.restore_best() == first
    assert "the last weights are scored instead" in capsys.readouterr().out


def test_a_second_trainer_is_kept_out(shell, tmp_path: Path) -> None:
    import os
    import time

    config = {
        "dataset": {"name": "synthetic", "shape": [8, 8, 1], "train_examples": 4096},
        "model": "linear",
        "epochs": 9999,
    }
    (tmp_path / "run.yaml").write_text(json.dumps(config | {"device": "cpu", "threads": 1}))
    first = shell.start("train", "-c", "run.yaml", "-o", "run", "-q", cwd=tmp_path)
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
