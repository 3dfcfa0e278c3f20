"""Interrupted runs: the first signal saves a checkpoint and stops, at any time; the second one stops at once."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tfloop_cli.engine.checkpoints.storage import read_arrays
from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints, step_of

# Long enough to be interrupted: hundreds of epochs, each with a validation of some length.
CONFIG: dict[str, Any] = {
    "dataset": {"name": "synthetic", "shape": [8, 8, 1], "classes": 3, "train_examples": 9000, "test_examples": 16},
    "model": "linear",
    "epochs": 500,
    "batch_size": 8,
    "validation": 8000,
    "device": "cpu",
    "threads": 1,
}


@pytest.fixture
def start_run(shell, tmp_path: Path):
    """Returns a function that starts a run and waits for its first epoch; returns the process and the run folder."""
    (tmp_path / "net.yaml").write_text(json.dumps(CONFIG))
    started = []

    def start(*arguments: str, wait: bool = True):
        process = shell.start("train", "-c", "net.yaml", "-o", "run", *arguments, cwd=tmp_path)
        started.append(process)
        metrics = tmp_path / "run" / "metrics.jsonl"
        while wait and not (metrics.exists() and metrics.stat().st_size):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        return process, tmp_path / "run"

    yield start
    for process in started:
        process.kill()
        process.communicate()


def newest_step(folder: Path) -> int:
    """Returns the step of the newest checkpoint; 0 if there is none."""
    return max((step_of(path) for path in list_checkpoints(folder / "checkpoints")), default=0)


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 75)])
def test_first_signal_saves_and_prints_resume_command(start_run, number: str, code: int) -> None:
    process, folder = start_run("--fail-under", "accuracy=0")
    process.send_signal(signal.Signals[number])
    _, stderr = process.communicate(timeout=60)  # benchmarks/durability measures how long it takes
    assert process.returncode == code, stderr
    assert f"{number}: stopping after this step; a second signal stops at once" in stderr
    assert f"stopped ({number})" in stderr
    assert f"the thresholds were not checked: {number} stopped the run" in stderr
    assert "next: tfloop resume run" in stderr
    assert json.loads((folder / "summary.json").read_text())["reason"] == number
    newest = Checkpoint.open(list_checkpoints(folder / "checkpoints")[-1])
    read_arrays(newest)
    assert newest.manifest["step"] > 0


def test_repeatedly_interrupted_run_continues(start_run) -> None:
    """A signal during training, validation or a save: the next process continues from there."""
    last_step = 0
    for wait in (0.0, 0.11, 0.23):
        process, folder = start_run("--resume", wait=False)
        while newest_step(folder) <= last_step:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        time.sleep(wait)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 143, stderr
        assert newest_step(folder) > last_step
        last_step = newest_step(folder)
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    numbers = [line["epoch"] for line in epochs if line["event"] == "epoch"]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_stops_at_once_and_checkpoints_are_complete(start_run, number: signal.Signals) -> None:
    process, folder = start_run()
    process.send_signal(signal.SIGTERM)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in (128 + number, 143)
    for path in list_checkpoints(folder / "checkpoints"):
        read_arrays(Checkpoint.open(path))


def blocks_or_handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has taken over a signal; False while Python is starting."""
    masks = re.findall(r"^Sig(?:Blk|Cgt):\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 75)])
def test_first_instant_of_tfloop_exits_with_code_of_signal(start_run, name: str, code: int) -> None:
    """Python itself handles SIGINT from its start, so the other signals show when tfloop does."""
    process, _ = start_run(wait=False)
    while not blocks_or_handles(process.pid, signal.SIGTERM):
        assert process.poll() is None
    process.send_signal(signal.Signals[name])
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in stderr


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 75)])
@pytest.mark.parametrize("delay", [0.1, 1.0, 2.0])
def test_signal_during_startup_exits_with_its_code(start_run, number: str, code: int, delay: float) -> None:
    """There is nothing to save yet: the process prints no traceback."""
    process, folder = start_run(wait=False)
    time.sleep(delay)
    process.send_signal(signal.Signals[number])
    _, stderr = process.communicate(timeout=60)
    if process.returncode != code:  # Python was starting, or importing the module that handles signals
        assert "exit_on_signals()" not in stderr
        return
    assert "Traceback" not in stderr
    if (folder / "metrics.jsonl").exists():
        assert "nothing new to save" in stderr or "stopped" in stderr


def test_max_time_saves_and_exits_with_0(start_run) -> None:
    process, folder = start_run("--max-time", "1s", "--json", wait=False)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert json.loads(stdout.splitlines()[-1])["reason"] == "max_time"
    assert list_checkpoints(folder / "checkpoints")


# Printing the message blocks: a paused terminal, or a full pipe.
BLOCKED_CONSOLE = """
    import os, time
    from tfloop_cli.signals import Interrupts
    def notify(text):
        print("notified", flush=True)
        time.sleep(60)
    with Interrupts(notify):
        print("ready", flush=True)
        time.sleep(60)
        time.sleep(60)
"""


def test_second_signal_ends_process_while_message_of_first_is_blocked() -> None:
    program = re.sub("(?m)^    ", "", BLOCKED_CONSOLE)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "notified\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == 130
