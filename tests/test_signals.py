"""Signals: the first is told and remembered, the second ends the process, and all is as before afterwards."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tfloop_cli.errors import ExitCode
from tfloop_cli.signals import Interrupts


def wait_for_signal(interrupts: Interrupts) -> None:
    deadline = time.monotonic() + 5
    while interrupts.signal is None and time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED),
        (signal.SIGTERM, ExitCode.TERMINATED),
        (signal.SIGUSR1, ExitCode.TRY_AGAIN),
    ],
)
def test_the_first_signal_is_remembered_and_told(number: signal.Signals, code: ExitCode) -> None:
    told: list[str] = []
    with Interrupts(told.append) as interrupts:
        assert interrupts.signal is None
        os.kill(os.getpid(), number)
        wait_for_signal(interrupts)
    assert interrupts.signal is not None
    assert (interrupts.signal.name, interrupts.signal.code) == (number.name, code)
    assert told == [f"{number.name}: stopping after this step; once more to stop at once"]


def test_old_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts(print):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.set_wakeup_fd(-1) == -1


# The main thread sits in one long call into C that looks at no signal, as a compilation does.
DEAF = """
    import ctypes, sys
    from tfloop_cli.signals import Interrupts
    sleep = ctypes.CDLL(None).sleep
    with Interrupts(lambda text: print(text, flush=True)):
        print("ready", flush=True)
        for _ in range(9):
            sleep(60)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75)])
def test_the_second_signal_ends_even_a_deaf_process_at_once(number: signal.Signals, code: int) -> None:
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(DEAF)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert "once more" in process.stdout.readline()
        process.send_signal(number)
        assert process.wait(timeout=5) == code


def test_a_forked_child_dies_of_its_signal_and_the_parent_does_not_hear_of_it() -> None:
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
