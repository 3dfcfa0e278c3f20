"""Signals: the first one is stored and reported, the second one ends the process, and the old handlers are restored."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tfloop_cli.errors import ExitCode
from tfloop_cli.signals import Interrupts


def wait_for_signal(interrupts: Interrupts) -> None:
    deadline = time.monotonic() + 5
    while interrupts.signal is None and time.monotonic() < deadline:
        time.sleep(0.001)


@contextmanager
def python_process(program: str) -> Iterator["subprocess.Popen[str]"]:
    """A context with a Python process whose stdout is a pipe; it is killed if the test fails."""
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED),
        (signal.SIGTERM, ExitCode.TERMINATED),
        (signal.SIGUSR1, ExitCode.TRY_AGAIN),
        (signal.SIGHUP, ExitCode.HANGUP),
    ],
)
def test_first_signal_is_stored_and_reported(number: signal.Signals, code: ExitCode) -> None:
    messages: list[str] = []
    with Interrupts(messages.append) as interrupts:
        assert interrupts.signal is None
        os.kill(os.getpid(), number)
        wait_for_signal(interrupts)
    assert interrupts.signal is not None
    assert (interrupts.signal.name, interrupts.signal.code) == (number.name, code)
    assert messages == [f"{number.name}: stopping after this step; a second signal stops at once"]


def test_ignored_hangup_stays_ignored() -> None:
    """As by `nohup tfloop train ...`: before the run, during it, and after it."""
    program = """
        import os, signal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        from tfloop_cli.signals import Interrupts, exit_on_signals
        exit_on_signals()
        os.kill(os.getpid(), signal.SIGHUP)
        with Interrupts(print) as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGUSR1)
            while interrupts.signal is None:
                pass
        print(interrupts.signal.name, signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
    """
    with python_process(program) as process:
        output, _ = process.communicate(timeout=20)
    assert output.splitlines()[-1] == "SIGUSR1 True"


def test_terminal_that_sends_several_hangups_does_not_prevent_saving() -> None:
    messages: list[str] = []
    with Interrupts(messages.append) as interrupts:
        os.kill(os.getpid(), signal.SIGHUP)
        wait_for_signal(interrupts)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(0.05)
    assert len(messages) == 1


def test_thread_other_than_the_main_one_can_train() -> None:
    """Python allows no signal handlers there."""
    codes: list[ExitCode] = []

    def train() -> None:
        with Interrupts(print) as interrupts:
            codes.append(interrupts.code(interrupts.reason))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert codes == [ExitCode.DONE]


def test_old_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts(print):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.set_wakeup_fd(-1) == -1


# The main thread is inside one long C call, like a compilation, in which Python runs no signal handlers.
BLOCKED_IN_C = """
    import ctypes, sys
    from tfloop_cli.signals import Interrupts
    sleep = ctypes.CDLL(None).sleep
    with Interrupts(lambda text: print(text, flush=True)):
        print("ready", flush=True)
        for _ in range(9):
            sleep(60)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75)])
def test_second_signal_ends_process_that_is_blocked_in_c(number: signal.Signals, code: int) -> None:
    with python_process(BLOCKED_IN_C) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert "a second signal" in process.stdout.readline()
        process.send_signal(number)
        assert process.wait(timeout=5) == code


def test_forked_child_has_default_handlers_and_does_not_notify_parent() -> None:
    with Interrupts(print) as interrupts:
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
        time.sleep(0.1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM
    assert interrupts.signal is None
