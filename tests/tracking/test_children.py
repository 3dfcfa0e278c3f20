"""Trackers in their processes: one that fails, hangs or prints does not disturb the run."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tracked_runs import epoch, write_lines

from tfloop_cli.errors import TfloopError
from tfloop_cli.events import EpochDone, Progress, RunEnded
from tfloop_cli.registry import Component, plugins
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.tracking import children
from tfloop_cli.tracking.children import Trackers, require_packages, start_early

CODE = '''\
import os, socket, sys, time
from pathlib import Path
from tfloop_cli import trackers


class Lines:
    packages = {}

    def start(self, run):
        print("libraries print", flush=True)
        os.write(1, b"not a report")
        policy = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None
        Path(run.folder, "policy").write_text(str(policy == os.SCHED_IDLE or os.nice(0) > 0))
        self.file = open(run.folder / f"{type(self).__name__}.txt", "a")
        self.write("start")
        return "here"

    def write(self, text):
        self.file.write(text + "\\n")
        self.file.flush()

    def log(self, step, metrics, time):
        self.write(str(step))

    def finish(self, status):
        self.write(status)


@trackers.register("lines")
class Good(Lines):
    """Writes lines."""


@trackers.register("fails")
class Fails(Lines):
    """Fails at the second epoch."""

    def log(self, step, metrics, time):
        super().log(step, metrics, time)
        if step == 20:
            raise RuntimeError("no such host http://me:secret@server/" + 1000 * "x" + "refused")


@trackers.register("waits")
class Waits(Lines):
    """Waits for a server that accepts and never answers."""

    def __init__(self, *, port: int = 0):
        self.port = port

    def start(self, run):
        super().start(run)
        socket.create_connection(("127.0.0.1", self.port)).recv(1)


@trackers.register("dies")
class Dies(Lines):
    """Ends its process."""

    def finish(self, status):
        os._exit(7)


@trackers.register("broken")
class Broken(Good):
    """Cannot be loaded."""

    def load(self):
        raise RuntimeError("cannot be loaded")
'''
DONE = EpochDone(1, 10, {}, None, 1.0, 0.0, 1.0)
PROGRESS = Progress(1, 1, 1, {}, 1.0)


@pytest.fixture
def code(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "own.py"
    path.write_text(CODE)
    plugins.load([path], lambda line: None)
    yield path
    plugins.load([], lambda line: None)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


class Training:
    """Two epochs of a run, with trackers."""

    def __init__(self, run: RunFolder, code: Path, *components: Component) -> None:
        self.run, self.said = run, list[str]()
        self.trackers = Trackers(run, components, [code], self.said.append, self.said.append)
        self.slowest = 0.0

    def train(self, waits_for_failure: bool = False) -> None:
        """Records the epochs; if asked to, the second one when a tracker has failed."""
        run, summary = self.run, self.run.summary.read_text()
        run.summary.unlink()
        run.metrics.unlink()
        with self.trackers:
            self.handle(PROGRESS)
            write_lines(run, epoch(1))
            self.handle(DONE)
            deadline = time.monotonic() + 20 * waits_for_failure
            while not self.said and time.monotonic() < deadline:
                time.sleep(0.05)
            write_lines(run, epoch(1), epoch(2))
            self.handle(DONE)
            run.summary.write_text(summary)
            self.handle(RunEnded("completed", "", "", "", 1.0))

    def handle(self, event: EpochDone | Progress | RunEnded) -> None:
        started = time.monotonic()
        self.trackers.handle(event)
        self.slowest = max(self.slowest, time.monotonic() - started)


def lines(run: RunFolder, name: str) -> list[str]:
    return (run.path / f"{name}.txt").read_text().split()


def test_tracker_follows_the_run_whatever_it_prints(run: RunFolder, code: Path) -> None:
    training = Training(run, code, Component("lines"))
    training.train()
    assert lines(run, "Good") == ["start", "10", "20", "finished"]
    assert training.said[-1] == "lines: here"
    assert (run.path / "policy").read_text() == "True"  # only uses processors that are idle


def test_failures_are_reported_once_and_hurt_nobody(
    run: RunFolder, code: Path, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good tracker, one that raises, one that ends its process, and one whose server never answers."""
    monkeypatch.setattr(children, "FINISH_SECONDS", 4.0)
    waits = Component("waits", {"port": silent_port})
    training = Training(run, code, Component("fails"), Component("dies"), waits, Component("lines"))
    started = time.monotonic()
    training.train()
    assert time.monotonic() - started < 30
    said = sorted(line for line in training.said if line.startswith("tracking"))
    assert [line.split(":")[0] for line in said] == [
        f"tracking with {one} failed" for one in ("dies", "fails", "waits")
    ]
    assert "ended with code 7" in said[0]
    assert "no such host http://server/" in said[1]
    assert len(said[1]) < 500
    assert "xrefused;" in said[1]  # the reason is often the end of a long message
    assert "not finished within 4 s" in said[2]
    assert f"`tfloop track {run} --to waits` writes it later" in said[2]
    assert lines(run, "Good") == ["start", "10", "20", "finished"]
    assert lines(run, "Waits") == ["start"]


def test_training_never_waits_for_a_tracker(run: RunFolder, code: Path, silent_port: int) -> None:
    training = Training(run, code, Component("waits", {"port": silent_port}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(children, "HURRY_SECONDS", 0.1)
        with training.trackers:
            training.handle(PROGRESS)  # starts the process
            training.slowest = 0.0
            for _ in range(70_000):  # more than a pipe holds
                training.trackers.handle(DONE)
            training.handle(DONE)
            training.handle(RunEnded("SIGTERM", "", "", "", 1.0))
    assert training.slowest < 0.1


@pytest.mark.parametrize("pause", [0.0, 30.0])
def test_failed_tracker_is_started_again_after_a_pause_or_at_the_end(
    run: RunFolder, code: Path, monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    monkeypatch.setattr(children, "FIRST_PAUSE", pause)
    flaky = run.path / "flaky.py"
    flaky.write_text(
        CODE.replace('"fails"', '"flaky"').replace(
            "if step == 20:", "if not (flag := self.file.name + '.once') or not os.path.exists(flag):\n            "
            "open(flag, 'w')"
        )
    )  # fmt: skip
    plugins.load([flaky], lambda line: None)
    training = Training(run, flaky, Component("flaky"))
    training.train(waits_for_failure=True)
    assert sum(line.startswith("tracking") for line in training.said) == 1
    assert lines(run, "Fails") == ["start", "10", "start", "10", "20", "finished"]
    assert training.said[-1] == "flaky: here"


@pytest.mark.parametrize("component", [Component("lines"), Component("broken")], ids=["works", "fails"])
def test_process_that_was_started_early_writes_the_run(run: RunFolder, code: Path, component: Component) -> None:
    start_early([component], [code])
    (child,) = children._waiting.values()
    training = Training(run, code, component)
    training.train(waits_for_failure=component.name == "broken")
    assert not children._waiting
    assert child.error == (None if component.name == "lines" else "RuntimeError: cannot be loaded")
    if child.error:
        assert f"tracking with broken failed: {child.error}" in training.said[0]
    else:
        assert lines(run, "Good") == ["start", "10", "20", "finished"]


def test_process_that_has_ended_early_is_reported(run: RunFolder, code: Path) -> None:
    start_early([Component("lines")], [code])
    (child,) = children._waiting.values()
    os.kill(child._process.pid, signal.SIGKILL)
    assert child.has_ended(time.monotonic() + 20)
    training = Training(run, code, Component("lines"))
    training.train()
    assert "tracking with lines failed: its process ended with code -9" in training.said[0]


def test_process_that_was_started_early_ends_without_a_training(code: Path) -> None:
    start_early([Component("lines")], [code])
    (child,) = children._waiting.values()
    children._waiting.clear()
    child.close()
    assert child.has_ended(time.monotonic() + 20)
    assert child._process.wait() == 0


def test_tracker_ends_with_a_run_that_was_killed(run: RunFolder, code: Path) -> None:
    run.summary.unlink()
    program = (
        "import sys, time; from pathlib import Path; from tfloop_cli.registry import Component, plugins\n"
        "from tfloop_cli.runs.folder import RunFolder; from tfloop_cli.tracking.children import Child\n"
        "child = Child(Component('lines'), RunFolder(Path(sys.argv[1])), [Path(sys.argv[2])], True)\n"
        "while child.where is None: time.sleep(0.05)\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, run.path, code], check=False, timeout=60)
    for _ in range(200):
        if "stopped" in lines(run, "Good"):
            break
        time.sleep(0.05)
    assert lines(run, "Good") == ["start", "10", "20", "20", "stopped"]


def test_missing_package_is_an_error_before_training(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "find_spec", lambda name: None)
    with pytest.raises(TfloopError) as caught:
        require_packages([Component("tensorboard"), Component("wandb"), Component("mlflow")])
    assert [one.message.partition(": ")[2] for one in caught.value.problems] == [
        "`pip install wandb`", "`pip install mlflow-skinny sqlalchemy alembic`",
    ]  # fmt: skip


def test_child_imports_what_the_parent_would(run: RunFolder, code: Path, tmp_path: Path) -> None:
    """A file in the current folder with the name of a library is not imported in its place."""
    before = Path.cwd()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "json.py").write_text("raise RuntimeError")
    os.chdir(tmp_path / "elsewhere")
    try:
        training = Training(run, code, Component("lines"))
        training.train()
    finally:
        os.chdir(before)
    assert "finished" in lines(run, "Good")
    assert json.loads(run.summary.read_text())["reason"] == "completed"
