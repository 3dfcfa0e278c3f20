"""The process that writes one tracker: it follows metrics.jsonl, and reports on stdout.

It is started by `tracking.children`, with a JSON job as its argument. Each byte on its stdin means that there are new
lines, and the end of stdin that the run has ended, or that its process has died.
"""

import json
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tfloop_cli.files import json_text
from tfloop_cli.registry import Component, plugins, trackers
from tfloop_cli.runs.folder import RunFolder
from tfloop_cli.tracking.history import History, status_of, tracked_run
from tfloop_cli.tracking.tracker import Tracker

CALL_SECONDS = 60.0  # a tracker that does not return within this time hangs
LAST_SECONDS = 120.0  # after the end of stdin, this process ends itself
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 600.0  # seconds between two attempts, doubled each time
_CHECK_SECONDS = 30.0  # how often to look whether the parent still exists


class Follower:
    """Writes the history of a run to a tracker, and tries again after an error.

    Args:
        build: returns a new tracker.
        run: the run folder.
        report: sends a report.
    """

    def __init__(self, build: Callable[[], Tracker], run: RunFolder, report: Callable[..., None]) -> None:
        self._build, self._run, self._report = build, run, report
        self._tracker: Tracker | None = None
        self._pause, self._next_attempt = FIRST_PAUSE, 0.0

    def update(self, ended: bool) -> None:
        """Writes what is new; at the end of the run, closes it too. An exception is reported."""
        if not ended and time.monotonic() < self._next_attempt:
            return
        try:
            with _limited(self._report):
                tracker = self._tracker or self._start()
                for point in self._history.read():
                    tracker.log(point.step, point.metrics, point.time)
                if ended:
                    tracker.finish(status_of(self._run))
            self._pause = FIRST_PAUSE
            self._report(ok=True, finished=ended)
        except Exception as error:
            self._report(error=f"{type(error).__name__}: {error}")
            self._tracker = None
            self._next_attempt = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _start(self) -> Tracker:
        described = tracked_run(self._run)
        tracker = self._build()
        self._report(where=tracker.start(described))
        self._tracker, self._history = tracker, History(self._run, described.started)
        return tracker


def main() -> None:
    """Runs the job in the arguments of this process."""
    job = json.loads(sys.argv[-1])
    wakeups, reports = os.dup(0), os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # a library prints what it likes, and must not ask anything
        os.dup2(null, standard)
    if job["idle"]:
        _run_when_idle()

    def report(**values: Any) -> None:
        with suppress(OSError):  # the parent has died
            reports.write(json_text(values) + "\n")
            reports.flush()

    try:
        plugins.load([Path(path) for path in job["code"]], lambda line: None)
        component = Component(job["tracker"].pop("name"), job["tracker"])
        follower = Follower(lambda: trackers.build(component), RunFolder(Path(job["run"])), report)
    except Exception as error:
        report(error=f"{type(error).__name__}: {error}")
        return
    follower.update(ended=False)
    for _ in _wakeups(wakeups):
        follower.update(ended=False)
    _end_after(LAST_SECONDS, lambda: None)
    follower.update(ended=True)
    reports.flush()
    os._exit(0)  # threads of a library that cannot reach its server would wait


def _wakeups(descriptor: int) -> Iterator[None]:
    """Yields after each byte or some, until the end of the file or of the parent process."""
    parent = os.getppid()
    while os.getppid() == parent:
        if select.select([descriptor], [], [], _CHECK_SECONDS)[0]:
            if not os.read(descriptor, 4096):
                return
            yield


@contextmanager
def _limited(report: Callable[..., None]) -> Iterator[None]:
    """A context that ends this process if it takes too long."""
    timer = _end_after(CALL_SECONDS, lambda: report(error=f"no answer within {CALL_SECONDS:.0f} s", gave_up=True))
    try:
        yield
    finally:
        timer.cancel()


def _end_after(seconds: float, last: Callable[[], None]) -> threading.Timer:
    def end() -> None:
        last()
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer


def _run_when_idle() -> None:
    """Leaves the processors to the training: this process only gets what nobody else uses."""
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


if __name__ == "__main__":
    main()
