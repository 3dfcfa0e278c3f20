"""Ctrl-C and other signals: the first one stops the training after the current step, the second one at once."""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Self

from tfloop_cli.errors import ExitCode
from tfloop_cli.events import EpochDone, Event, Progress, Stopped

_STOPPING = "stopping after this step; a second signal stops at once"
_STOPPING_PROGRAM = "stopping after this step"
_NOTHING_TO_SAVE = "stopped; there is nothing new to save yet"
CODES = {
    signal.SIGHUP: ExitCode.HANGUP,  # the terminal went away
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGUSR1: ExitCode.TRY_AGAIN,  # Slurm sends it shortly before the time limit
}


def exit_on_signals() -> None:
    """Lets a signal end the process at once, with its exit code and no traceback: nothing needs saving yet."""
    for number in _handled():
        signal.signal(number, _exit)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, CODES)  # `__main__` blocks them


class SignalError(BaseException):
    """A signal was received in `raise_on_signals`.

    Args:
        code: the exit code for it.
    """

    def __init__(self, code: ExitCode) -> None:
        super().__init__(code)
        self.code = code


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """A context in which the first signal raises `SignalError`, so that temporary files are removed.

    Python handles signals in the main thread only: in another thread, the context does nothing.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        for one in before:
            signal.signal(one, _exit)
        raise SignalError(CODES[signal.Signals(number)])

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handle) for number in _handled()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handled() -> list[signal.Signals]:
    """Returns the signals to handle: not a SIGHUP that is ignored, which is what `nohup` does."""
    return [one for one in CODES if one != signal.SIGHUP or signal.getsignal(one) is not signal.SIG_IGN]


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(CODES[signal.Signals(number)])


@dataclass(frozen=True)
class StopSignal:
    """A received signal: its name ("SIGINT") and the exit code for it."""

    name: str
    code: ExitCode


class Interrupts:
    """A context in which SIGINT, SIGTERM, SIGUSR1 and SIGHUP set `signal`; a second one ends the process.

    A SIGHUP that comes second is ignored: nobody has pressed a key twice.
    Python handles signals in the main thread only: in another thread, the context does nothing.

    A thread waits for the signals; Python's own C handler wakes it through a pipe. A handler in Python would have to
    wait for the main thread, which may be inside one long TensorFlow call.

    Args:
        notify: prints what happens next; called in a thread.
        idle: whether there is nothing new to save yet, so that the first signal may end the process at once.
            Compiling the first step takes seconds.
        ends_process: whether a signal may end the process; in a Python program it only stops the training.

    Attributes:
        signal: the first signal that was received, else None. The loop checks it after every call.
        idle: as above; `until_stopped` resets it.
    """

    def __init__(self, notify: Callable[[str], None], *, idle: bool = False, ends_process: bool = True) -> None:
        self.signal: StopSignal | None = None
        self.idle = idle and ends_process
        self._ends_process = ends_process
        self._notify = notify
        self._thread: threading.Thread | None = None
        self._notifier: threading.Thread | None = None

    @property
    def reason(self) -> str:
        """The name of the received signal; "max_time" if there was none."""
        return self.signal.name if self.signal else "max_time"

    def code(self, reason: str) -> ExitCode:
        """Returns the exit code of a run that stopped for `reason`: that of the signal if it is one."""
        return self.signal.code if self.signal and self.signal.name == reason else ExitCode.DONE

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._old_wakeup = signal.set_wakeup_fd(self._writer)
        self._old_handlers = {number: signal.signal(number, _do_nothing) for number in _handled()}
        self._thread = threading.Thread(target=self._watch, name="tfloop-signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None:
            return
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self._writer)  # the watcher reads the end of the pipe and returns
        self._thread.join()
        if self._notifier:
            self._notifier.join(1.0)
        os.close(self._reader)

    def _watch(self) -> None:
        while received := os.read(self._reader, 1):
            number = received[0]
            if number not in CODES:  # another Python signal handler also writes to the pipe
                continue
            if self.signal is not None:
                # A terminal that closes sends several SIGHUP, the shell's and the system's; a program ends itself.
                if number == signal.SIGHUP or not self._ends_process:
                    continue
                os._exit(CODES[signal.Signals(number)])
            name = signal.Signals(number).name
            self.signal = StopSignal(name, CODES[signal.Signals(number)])
            # Printed in a thread: a terminal paused by Ctrl-S, or a full pipe, must not block the second signal.
            line = _NOTHING_TO_SAVE if self.idle else _STOPPING if self._ends_process else _STOPPING_PROGRAM
            self._notifier = threading.Thread(target=self._notify, args=[f"{name}: {line}"], daemon=True)
            self._notifier.start()
            if self.idle:
                self._notifier.join(0.5)
                os._exit(self.signal.code)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Replaces the default handler, which would raise or kill."""


def _reset_in_child() -> None:
    """Resets the handlers in a forked child (such as a user's worker pool), and detaches it from our watcher."""
    for number in CODES:
        if signal.getsignal(number) in (_do_nothing, _exit):
            signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_reset_in_child)


def until_stopped(
    events: Iterator[Event], interrupts: Interrupts, deadline: float, last_epoch: int | None = None
) -> Iterator[Event]:
    """Yields events until a signal arrives or the deadline passes; then yields `Stopped` as the last event.

    Args:
        events: of the training loop; the training state does not change between two of them.
        interrupts: an entered context.
        deadline: seconds on the monotonic clock.
        last_epoch: the deadline passes after this epoch; None for no such epoch.
    """
    for event in events:
        interrupts.idle = False
        yield event
        if isinstance(event, EpochDone) and event.epoch == last_epoch:
            deadline = -math.inf
        if isinstance(event, Progress | EpochDone) and (interrupts.signal or time.monotonic() > deadline):
            yield Stopped(interrupts.reason, event.step)
            return
