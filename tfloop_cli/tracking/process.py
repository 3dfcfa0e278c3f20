"""The process that writes one tracker: it follows metrics.jsonl, and reports on stdout.

It is started by `tracking.children`, with a JSON job as its argument. Each byte on its stdin means that there are new
lines, and the end of stdin that the run has ended, or that its process has died.
"""

import itertools
import json
import os
import select
import sys
import threading
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
LAST_SECONDS = 600.0  # after the end of the run, this process ends itself
_CHECK_SECONDS = 30.0  # how often to look whether the parent still exists


def main() -> None:
    """Runs the job in the arguments of this process; exits with 1 after an exception, which it reports."""
    job = json.loads(sys.argv[-1])
    wakeups, reports = os.dup(0), os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # a library prints what it likes, and must not ask anything
        os.dup2(null, standard)

    def report(**values: Any) -> None:
        with suppress(OSError):  # the parent has died
            reports.write(json_text(values) + "\n")
            reports.flush()

    try:
        if job["follows"]:
            _run_when_idle()
        _write(job, wakeups, report)
        os._exit(0)  # threads of a library that cannot reach its server would wait
    except Exception as error:
        report(error=f"{type(error).__name__}: {error}")
        os._exit(1)


def _loaded(job: dict[str, Any]) -> Tracker:
    """Returns the tracker, which has imported what it needs."""
    plugins.load([Path(path) for path in job["code"]], lambda line: None)
    name, arguments = job["tracker"]
    tracker: Tracker = trackers.build(Component(name, arguments))
    getattr(tracker, "load", lambda: None)()
    return tracker


def _run_from(descriptor: int) -> str:
    """Returns the run folder, which ends with a zero; ends this process without one, as then no training has begun."""
    path = b""
    while not path.endswith(b"\0"):
        if not (byte := os.read(descriptor, 1)):
            os._exit(0)
        path += byte
    return os.fsdecode(path[:-1])


def _write(job: dict[str, Any], descriptor: int, report: Callable[..., None]) -> None:
    """Writes the history of a run to a tracker: what there is now and after each wake-up, then its end."""
    try:
        with _limited(report):
            tracker = _loaded(job)
    finally:  # an exception is reported when the training has begun
        run = RunFolder(Path(job["run"] or _run_from(descriptor)))
    wakeups = _wakeups(descriptor) if job["follows"] else iter(())
    described = tracked_run(run)
    history = History(run, described.started)
    with _limited(report):
        report(where=tracker.start(described))
    for _ in itertools.chain([None], wakeups):
        with _limited(report):
            for point in history.read():
                tracker.log(point.step, point.metrics, point.time)
    _end_after(LAST_SECONDS, lambda: None)
    for point in history.read():
        tracker.log(point.step, point.metrics, point.time)
    tracker.finish(status_of(run))
    report(finished=True)


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
    timer = _end_after(CALL_SECONDS, lambda: report(error=f"no answer within {CALL_SECONDS:.0f} s"))
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
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (OSError, AttributeError):  # not Linux, or forbidden in a container
        os.nice(19)


if __name__ == "__main__":
    main()
