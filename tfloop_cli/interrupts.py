"""Ctrl-C and its relatives: the first asks the loop to stop, the second stops the process."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Self

from tfloop_cli.errors import ExitCode
from tfloop_cli.events import EpochDone, Event, Progress, Stopped

_STOPPING = "stopping after this step; once more to stop at once"
_CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGUSR1: ExitCode.TRY_AGAIN,  # Slurm's word that the time is nearly up
}


def exit_on_signals() -> None:
    """Before there is anything to save, a signal ends the process at once, with its exit code and no traceback."""
    for number in _CODES:
        signal.signal(number, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(_CODES[signal.Signals(number)])


@dataclass(frozen=True)
class StopSignal:
    """The signal that came: its name ("SIGINT") and the exit code that it leads to."""

    name: str
    code: ExitCode


class Interrupts:
    """While entered, SIGINT, SIGTERM and SIGUSR1 set `signal` instead of raising; a second one ends the process.

    Only for the main thread (elsewhere `signal.signal` raises ValueError).

    A thread waits for the signals, woken by Python's own C handler through a pipe: a handler in Python would wait for
    the main thread, which may be inside one long call of TensorFlow, deaf to the second Ctrl-C too.

    Args:
        tell: shows the line that says what is going to happen; called in a thread.
        idle: whether there is nothing new to save yet, so that the first signal may end the process at once: the first
            step is compiled for seconds.

    Attributes:
        signal: the first signal that came, else None. The loop looks at it after every call.
        idle: as above; `until_stopped` ends it.
    """

    def __init__(self, tell: Callable[[str], None], *, idle: bool = False) -> None:
        self.signal: StopSignal | None = None
        self.idle = idle
        self._tell = tell
        self._teller: threading.Thread | None = None

    @property
    def reason(self) -> str:
        """The signal's name; "max_time" where none came."""
        return self.signal.name if self.signal else "max_time"

    def code(self, reason: str) -> ExitCode:
        """The exit code of a run that stopped for `reason`: the signal's own, if it was one."""
        return self.signal.code if self.signal and self.signal.name == reason else ExitCode.DONE

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._old_wakeup = signal.set_wakeup_fd(self._writer)
        self._old_handlers = {number: signal.signal(number, _let_pass) for number in _CODES}
        self._thread = threading.Thread(target=self._watch, name="tfloop-signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self._writer)  # the watcher reads the end of the pipe, and ends
        self._thread.join()
        if self._teller:
            self._teller.join(1.0)
        os.close(self._reader)

    def _watch(self) -> None:
        while received := os.read(self._reader, 1):
            number = received[0]
            if number not in _CODES:  # a signal that someone else handles in Python wakes us too
                continue
            if self.signal is not None:
                os._exit(_CODES[signal.Signals(number)])
            name = signal.Signals(number).name
            self.signal = StopSignal(name, _CODES[signal.Signals(number)])
            # A terminal that is stopped with Ctrl-S, or a full pipe, must not make us deaf to the second signal.
            line = "stopped; there is nothing new to save yet" if self.idle else _STOPPING
            self._teller = threading.Thread(target=self._tell, args=[f"{name}: {line}"], daemon=True)
            self._teller.start()
            if self.idle:
                self._teller.join(0.5)
                os._exit(self.signal.code)


def _let_pass(number: int, frame: FrameType | None) -> None:
    """Stands where the default handler would raise or kill."""


def _forget_in_child() -> None:
    """A forked child (a user's worker pool) dies of its signals as any process does, and does not wake our watcher."""
    for number in _CODES:
        if signal.getsignal(number) in (_let_pass, _exit):
            signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_forget_in_child)


def until_stopped(events: Iterator[Event], interrupts: Interrupts, deadline: float) -> Iterator[Event]:
    """Passes events on until a signal has come or time is up, which a last event, `Stopped`, then tells.

    Args:
        events: of the training loop; the state is at rest between two of them.
        interrupts: entered.
        deadline: on the monotonic clock, in seconds.
    """
    for event in events:
        interrupts.idle = False
        yield event
        if isinstance(event, Progress | EpochDone) and (interrupts.signal or time.monotonic() > deadline):
            yield Stopped(interrupts.reason, event.step)
            return
