"""Promise: the first signal saves and stops, whenever it comes; the second stops at once."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tfloop_cli.runs.checkpoints import Checkpoint, list_checkpoints, step_of

# Long enough for a signal to meet it: hundreds of epochs, a validation of some length.
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
def run(shell, tmp_path: Path):
    """Starts a run and waits for its first epoch; gives the process and the run folder."""
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


def newest(folder: Path) -> int:
    """The step of the newest checkpoint; 0 before the first."""
    return max((step_of(path) for path in list_checkpoints(folder / "checkpoints")), default=0)


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 75)])
def test_the_first_signal_saves_and_says_how_to_go_on(run, number: str, code: int) -> None:
    process, folder = run()
    process.send_signal(signal.Signals[number])
    _, said = process.communicate(timeout=60)  # the campaign measures how long it takes
    assert process.returncode == code, said
    assert f"{number}: stopping after this step; once more to stop at once" in said
    assert f"stopped ({number})" in said
    assert "next: tfloop train --resume --output run" in said
    assert json.loads((folder / "summary.json").read_text())["reason"] == number
    newest = Checkpoint.open(list_checkpoints(folder / "checkpoints")[-1])
    newest.arrays()
    assert newest.manifest["step"] > 0


def test_a_signal_again_and_again_and_the_run_goes_on(run) -> None:
    """Training, validation or a save: whatever it meets, the next one goes on from there."""
    reached = 0
    for wait in (0.0, 0.11, 0.23):
        process, folder = run("--resume", wait=False)
        while newest(folder) <= reached:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        time.sleep(wait)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 143, said
        assert newest(folder) > reached
        reached = newest(folder)
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    numbers = [line["epoch"] for line in epochs if line["event"] == "epoch"]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_stops_at_once_and_the_disk_is_good(run, number: signal.Signals) -> None:
    process, folder = run()
    process.send_signal(signal.SIGTERM)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in (128 + number, 143)
    for path in list_checkpoints(folder / "checkpoints"):
        Checkpoint.open(path).arrays()


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 75)])
@pytest.mark.parametrize("after", [0.1, 1.0, 2.0])
def test_during_start_up(run, number: str, code: int, after: float) -> None:
    """Nothing is there to be saved: it ends with the code and without a traceback."""
    process, folder = run(wait=False)
    time.sleep(after)
    process.send_signal(signal.Signals[number])
    _, said = process.communicate(timeout=60)
    if process.returncode != code:  # Python itself was starting, or the module that minds signals
        assert "exit_on_signals()" not in said
        return
    assert "Traceback" not in said
    if (folder / "metrics.jsonl").exists():
        assert "nothing new to save" in said or "stopped" in said


def test_max_time_stops_the_same_way_with_exit_0(shell, run) -> None:
    process, folder = run("--max-time", "1s", "--json", wait=False)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert json.loads(out.splitlines()[-1])["reason"] == "max_time"
    assert list_checkpoints(folder / "checkpoints")


# The console hangs: a stopped terminal, a pipe that nobody reads. The second signal is heard all the same.
HUNG = """
    import os, time
    from tfloop_cli.signals import Interrupts
    def tell(text):
        print("told", flush=True)
        time.sleep(60)
    with Interrupts(tell):
        print("ready", flush=True)
        time.sleep(60)
        time.sleep(60)
"""


def test_the_second_signal_is_heard_while_the_first_cannot_be_told() -> None:
    program = re.sub("(?m)^    ", "", HUNG)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "told\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == 130
