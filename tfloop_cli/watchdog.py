"""Warns when training waits for something that does not happen, such as a lock that its holder waits for as well."""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType

from tfloop_cli.events import Event

STUCK_SECONDS = 60.0
_BUSY = 0.02  # fraction of one CPU above which the process is computing
_FRAMES = 6  # innermost frames in the warning


def warn_if_stuck(
    events: Iterator[Event], warn: Callable[[str], None], seconds: float = STUCK_SECONDS
) -> Iterator[Event]:
    """Yields the events; warns once if the next one does not come and the process uses no CPU time meanwhile.

    The warning contains the innermost frames of the calling thread. A process that computes, however slowly, is not
    stuck; one that waits for a slow file system may be.

    Args:
        events: of the training loop.
        warn: prints a warning; called in a thread.
        seconds: time without an event and without CPU time after which the warning is printed.
    """
    watchdog = _Watchdog(threading.get_ident(), warn, seconds)
    thread = threading.Thread(target=watchdog.watch, name="tfloop-watchdog", daemon=True)
    thread.start()
    try:
        for event in events:
            watchdog.waiting = False
            yield event
            watchdog.since, watchdog.waiting = time.monotonic(), True
    finally:
        watchdog.ended.set()
        thread.join()


class _Watchdog:
    def __init__(self, thread: int, warn: Callable[[str], None], seconds: float) -> None:
        self._thread, self._warn, self._seconds = thread, warn, seconds
        self.since, self.waiting = time.monotonic(), True
        self.ended = threading.Event()

    def watch(self) -> None:
        pause = self._seconds / 10
        idle_since, used = time.monotonic(), time.process_time()
        while not self.ended.wait(pause):
            now, used_before, used = time.monotonic(), used, time.process_time()
            if not self.waiting or used - used_before > _BUSY * pause:
                idle_since = now
            if now - max(idle_since, self.since) >= self._seconds:
                self._warn(self._message(sys._current_frames().get(self._thread)))
                return

    def _message(self, frame: FrameType | None) -> str:
        frames = traceback.extract_stack(frame)[-_FRAMES:]
        places = "".join(f"\n  {one.filename}:{one.lineno} in {one.name}" for one in frames)
        return (
            f"training has not continued for {self._seconds:.0f} s, and the process uses no CPU time. It waits in:"
            f"{places}\n  Ctrl-C twice ends the process; if the wait is in TensorFlow, try `threads: 4`"
        )
