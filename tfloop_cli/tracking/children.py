"""Starts one process per tracker, tells it what is new, and collects its reports. Nothing here waits for a tracker."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.events import EpochDone, Evaluated, Event, Progress, RunEnded
from tfloop_cli.files import json_text
from tfloop_cli.registry import Component, trackers
from tfloop_cli.runs.folder import RunFolder

FINISH_SECONDS = 60.0  # how long the end of a run waits for its trackers; MLflow's new database takes 10 to 30 s
FIRST_CHARACTERS, LAST_CHARACTERS = 150, 100  # of a longer message: the reason of a failed connection is its end
QUIET_SECONDS = 1.0  # how long it waits without a message
HURRY_SECONDS = 3.0  # the same after a signal
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 600.0  # seconds between a failure and the next attempt, doubled each time
_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")  # user:password@ in a URL
# The child imports what this process would import, wherever tfloop is.
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tfloop_cli.tracking import process; "
_PROGRAM += "process.main()"


def require_packages(components: Sequence[Component]) -> None:
    """Raises TfloopError if a tracker cannot be used: a package is missing, or an argument is refused (exit code 2)."""
    problems = []
    for component in components:
        packages = getattr(trackers.build(component), "packages", {})
        if any(find_spec(module) is None for module in packages):
            command = f"pip install {' '.join(dict.fromkeys(packages.values()))}"
            problems.append(Problem(f"the tracker `{component.name}` needs packages that are missing: `{command}`"))
    if problems:
        raise TfloopError(problems=problems)


class Child:
    """The process of one tracker.

    Args:
        component: the tracker.
        run: the run folder; None: the process imports what it needs, and waits for `open`.
        code: the user's own modules.
        follows: whether the run is training: the process waits for what is new, and uses the processors only while
            nobody else does.
        failed: called in a thread with the reason if the process fails.

    Attributes:
        name: of the tracker.
        where: where a user finds the run; None if the tracker could not be opened.
        error: why it failed; None if it did not.
        finished: whether everything was written.
    """

    def __init__(
        self,
        component: Component,
        run: RunFolder | None,
        code: Sequence[Path],
        follows: bool,
        failed: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.name = component.name
        self.where: str | None = None
        self.error: str | None = None
        self.finished = False
        self._failed, self._killed = failed, False
        job = {
            "run": run and str(run),
            "tracker": [component.name, dict(component.arguments)],
            "code": [str(path) for path in code],
            "follows": follows,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path), json_text(job)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the training
        )  # fmt: skip
        assert self._process.stdin
        os.set_blocking(self._process.stdin.fileno(), False)
        self._reader = threading.Thread(target=self._read, name=f"tfloop-{self.name}", daemon=True)
        self._reader.start()

    def open(self, run: RunFolder, failed: Callable[[str], None]) -> None:
        """Names the run to a process that waits for it; `failed` is called with the reason if it has failed already."""
        self._failed = failed
        assert self._process.stdin
        try:
            os.write(self._process.stdin.fileno(), os.fsencode(run.path) + b"\0")
        except OSError:
            failed(self.error or "its process has ended")

    def wake(self) -> None:
        """Tells the process that there are new lines. A full pipe tells it as well."""
        assert self._process.stdin
        with suppress(OSError):
            os.write(self._process.stdin.fileno(), b".")

    def close(self) -> None:
        """Tells the process that the run has ended. It need not be idle any more, where the system permits that."""
        with suppress(OSError, AttributeError):
            os.sched_setscheduler(self._process.pid, os.SCHED_OTHER, os.sched_param(0))
        assert self._process.stdin
        with suppress(OSError):
            self._process.stdin.close()

    def has_ended(self, deadline: float) -> bool:
        """Waits until the process ends; returns whether it did before the deadline (seconds, monotonic clock)."""
        self._reader.join(max(0.0, deadline - time.monotonic()))
        return not self._reader.is_alive()

    def wait(self, seconds: float, since: float) -> None:
        """Waits for the process to end, and ends it `seconds` after `since` (monotonic clock)."""
        late = not self.has_ended(since + seconds)
        self._killed = True
        with suppress(OSError):  # what it has started too, such as wandb's own process
            if self._process.returncode is None:  # its id is not another one's yet
                os.killpg(self._process.pid, signal.SIGKILL)
        self._reader.join(1.0)
        self.close()
        self._process.wait()
        if late and not self.finished:
            self._fail(f"not finished within {seconds:.0f} s")

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as reports:
            for line in reports:
                self._take(line)
        if not self.finished and not self.error and not self._killed:
            self._fail(f"its process ended with code {self._process.wait()}")

    def _take(self, line: bytes) -> None:
        values = json.loads(line)
        self.where = values.get("where", self.where)
        self.finished = values.get("finished", self.finished)
        if error := values.get("error"):
            self._fail(str(error))

    def _fail(self, text: str) -> None:
        error = _PASSWORD.sub("", " ".join(text.split()))
        if len(error) > FIRST_CHARACTERS + LAST_CHARACTERS:
            error = f"{error[:FIRST_CHARACTERS]} ... {error[-LAST_CHARACTERS:]}"
        self.error = error
        self._failed(self.error)


_waiting: dict[str, Child] = {}  # repr of a component -> its process, which has no run yet


def start_early(components: Sequence[Component], code: Sequence[Path]) -> None:
    """Starts the processes of a training that begins in this process, and only there: while TensorFlow is imported.

    The imports of a tracker take a second of a processor, and the import of TensorFlow leaves all but one idle. A
    process that no run is named to ends with this one.
    """
    for component in components:
        with suppress(OSError):  # too many processes; tried again in the training
            _waiting[repr(component)] = Child(component, None, code, True)


class Trackers:
    """The trackers of a training. A context: its end waits for them, for a limited time.

    The processes start, or are told the run, after the first training steps, when the history of a resumed run is
    restored, and nothing is compiled any more.

    Args:
        run: the run folder.
        components: the trackers of the config.
        code: the user's own modules.
        warn: prints a warning; called in threads.
        info: prints a message.
    """

    def __init__(
        self,
        run: RunFolder,
        components: Sequence[Component],
        code: Sequence[Path],
        warn: Callable[[str], None],
        info: Callable[[str], None],
    ) -> None:
        self._run, self._components, self._code = run, components, code
        self._warn, self._info = warn, info
        # By the index of the tracker: its process, and after a failure when to try again, and the pause after that.
        self._children: dict[int, Child] = {}
        self._attempts: dict[int, tuple[float, float]] = {}
        self._opened: set[int] = set()  # those that failed after they had been opened
        self._seconds = FINISH_SECONDS

    def __enter__(self) -> Self:
        return self

    def handle(self, event: Event) -> None:
        """Tells the trackers what was recorded."""
        if isinstance(event, EpochDone) or (isinstance(event, Progress) and not self._children):
            for index in range(len(self._components)):
                self._start(index)
        if isinstance(event, EpochDone | Evaluated):
            for child in self._children.values():
                child.wake()
        if isinstance(event, RunEnded) and event.reason.startswith("SIG"):
            self._seconds = HURRY_SECONDS  # what sent the signal may not wait longer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._seconds == FINISH_SECONDS:
            self._try_again_at_the_end()
        children = list(self._children.values())
        finish(children, self._seconds, self._info)
        for child in children:
            if child.finished:
                self._info(f"{child.name}: {child.where}")

    def _start(self, index: int) -> None:
        """Starts the process of a tracker; if it has failed, again after a pause."""
        if index in self._children or index in self._attempts:
            next_attempt, pause = self._attempts.get(index, (math.inf, 0.0))
            if time.monotonic() < next_attempt:
                return
            self._attempts[index] = (math.inf, pause)
        if before := self._children.pop(index, None):
            before.wait(0.0, 0.0)
        failed = partial(self._failed, index)
        component = self._components[index]
        try:
            if child := _waiting.pop(repr(component), None):
                child.open(self._run, failed)
            self._children[index] = child or Child(component, self._run, self._code, True, failed)
        except OSError as error:  # too many processes
            failed(str(error))

    def _try_again_at_the_end(self) -> None:
        """Starts trackers that wait for their next attempt, if their server has answered once in this training."""
        for index in sorted(self._opened):  # a copy: another one may fail meanwhile
            next_attempt, pause = self._attempts[index]
            if next_attempt < math.inf:
                self._attempts[index] = (0.0, pause)
                self._start(index)

    def _failed(self, index: int, reason: str) -> None:
        """Reports the first failure of a tracker, and plans the next attempt."""
        if (child := self._children.get(index)) and child.where:
            self._opened.add(index)
        if index not in self._attempts:
            name = self._components[index].name
            later = f"`tfloop track {self._run} --to {name}` writes it later"
            self._warn(f"tracking with {name} failed: {reason}; training is not affected; {later}")
        _, pause = self._attempts.get(index, (0.0, FIRST_PAUSE))
        self._attempts[index] = (time.monotonic() + pause, min(2 * pause, LONGEST_PAUSE))


def finish(children: Sequence[Child], seconds: float, info: Callable[[str], None]) -> None:
    """Tells the processes that the run has ended, and waits for them.

    Args:
        children: the processes.
        seconds: the limit.
        info: prints whom it waits for.
    """
    for child in children:
        child.close()
    started = time.monotonic()
    late = [child.name for child in children if not child.has_ended(started + QUIET_SECONDS)]
    if late:
        info(f"waiting for {', '.join(late)}, at most {seconds:.0f} s; everything else is done")
    for child in children:
        child.wait(seconds, started)
