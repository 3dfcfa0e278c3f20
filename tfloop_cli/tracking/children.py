"""Starts one process per tracker, tells it what is new, and collects its reports. Nothing here waits for a tracker."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.events import EpochDone, Evaluated, Event, Progress, RunEnded
from tfloop_cli.registry import Component, trackers
from tfloop_cli.runs.folder import RunFolder

FINISH_SECONDS = 30.0  # how long the end of a run waits for its trackers
HURRY_SECONDS = 3.0  # the same after a signal, and for a tracker whose last attempt failed
_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")  # user:password@ in a URL
# The child imports what this process would import, wherever tfloop is.
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tfloop_cli.tracking import process; "
_PROGRAM += "process.main()"


def require_packages(components: Sequence[Component]) -> None:
    """Raises TfloopError if a tracker cannot be used: a package is missing, or an argument is refused (exit code 2)."""
    problems = []
    for component in components:
        packages = trackers.build(component).packages
        if any(find_spec(module) is None for module in packages):
            command = f"pip install {' '.join(dict.fromkeys(packages.values()))}"
            problems.append(Problem(f"the tracker `{component.name}` needs packages that are missing: `{command}`"))
    if problems:
        raise TfloopError(problems=problems)


class Child:
    """The process of one tracker.

    Args:
        component: the tracker.
        run: the run folder.
        code: the user's own modules.
        idle: whether it may use the processors only while nobody else does.
        report: called once, in a thread, with the first error.

    Attributes:
        name: of the tracker.
        where: where a user finds the run; None if the tracker could not be opened.
        error: the last error; None if what came after it was written.
        finished: whether everything was written.
    """

    def __init__(
        self, component: Component, run: RunFolder, code: Sequence[Path], idle: bool, report: Callable[[str], None]
    ) -> None:
        self.name = component.name
        self.where: str | None = None
        self.error: str | None = None
        self.finished = False
        self._report, self._reported = report, False
        job = {
            "run": str(run),
            "tracker": {"name": component.name, **component.arguments},
            "code": [str(path) for path in code],
            "idle": idle,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path), json.dumps(job)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the training
        )  # fmt: skip
        assert self._process.stdin
        os.set_blocking(self._process.stdin.fileno(), False)
        self._reader = threading.Thread(target=self._read, name=f"tfloop-{self.name}", daemon=True)
        self._reader.start()

    def wake(self) -> None:
        """Tells the process that there are new lines. A full pipe tells it as well."""
        assert self._process.stdin
        with suppress(OSError):
            os.write(self._process.stdin.fileno(), b".")

    def close(self) -> None:
        """Tells the process that the run has ended."""
        assert self._process.stdin
        with suppress(OSError):
            self._process.stdin.close()

    def wait(self, seconds: float, since: float) -> None:
        """Waits for the process to end, and ends it `seconds` after `since` (monotonic clock)."""
        self._reader.join(max(0.0, since + seconds - time.monotonic()))
        if late := self._reader.is_alive():
            self._process.kill()
            self._reader.join(1.0)
        self._process.wait()
        if late and not self.finished:
            self._set_error(f"not finished within {seconds:.0f} s")

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with suppress(ValueError):
                values = json.loads(line)
                self.where = values.get("where", self.where)
                self.finished = values.get("finished", self.finished)
                if values.get("ok"):
                    self.error = None
                if error := values.get("error"):
                    self._set_error(str(error))
        if not self.finished and not self.error and self._process.wait() > 0:
            self._set_error(f"its process ended with code {self._process.returncode}")

    def _set_error(self, text: str) -> None:
        self.error = _PASSWORD.sub("", " ".join(text.split()))[:300]
        if not self._reported:
            self._reported = True
            self._report(self.error)


class Trackers:
    """The trackers of a training. A context: its end waits for them, for a limited time.

    The processes start after the first training steps, when the history of a resumed run is restored, and nothing is
    compiled any more.

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
        self._children: list[Child] = []
        self._seconds = FINISH_SECONDS

    def __enter__(self) -> Self:
        return self

    def handle(self, event: Event) -> None:
        """Tells the trackers what was recorded."""
        if isinstance(event, Progress | EpochDone) and self._components and not self._children:
            self._start()
        if isinstance(event, EpochDone | Evaluated):
            for child in self._children:
                child.wake()
        if isinstance(event, RunEnded) and event.reason.startswith("SIG"):
            self._seconds = HURRY_SECONDS  # what sent the signal may not wait longer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        finish(self._children, self._seconds)
        for child in self._children:
            if child.finished:
                self._info(f"{child.name}: {child.where}")

    def _start(self) -> None:
        for component in self._components:
            try:
                child = Child(component, self._run, self._code, True, self._failure(component.name))
            except OSError as error:  # too many processes
                self._failure(component.name)(str(error))
            else:
                self._children.append(child)

    def _failure(self, name: str) -> Callable[[str], None]:
        later = f"`tfloop track {self._run} --to {name}` writes it later"
        return lambda reason: self._warn(f"tracking with {name} failed: {reason}; training is not affected; {later}")


def finish(children: Sequence[Child], seconds: float) -> None:
    """Tells the processes that the run has ended, and waits for them; for one that has failed before, not long."""
    for child in children:
        child.close()
    started = time.monotonic()
    for child in children:
        limit = min(seconds, HURRY_SECONDS) if child.error else seconds
        child.wait(limit, started)
