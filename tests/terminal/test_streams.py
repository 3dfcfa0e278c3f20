"""Output streams that fail: a training goes on, and another command ends with one message."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TextIO

import pytest

from tfloop_cli.terminal.streams import ignore_errors, never_failing


def closed_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("make", [closed_pipe, lambda: os.open("/dev/full", os.O_WRONLY)], ids=["pipe", "full"])
def test_failing_output_is_dropped(make) -> None:
    descriptor = make()
    stream = never_failing(sys.__stdout__, descriptor)
    print("x" * 100_000, file=stream, flush=True)
    os.close(descriptor)
    print("y", file=stream, flush=True)  # a closed descriptor


def test_nothing_is_lost_in_a_full_pipe_that_does_not_block() -> None:
    """Another process at the same terminal or pipe can set the flag, such as Node.js."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    received: list[bytes] = []

    def read() -> None:
        time.sleep(0.05)
        while chunk := os.read(reader, 2**16):
            received.append(chunk)

    thread = threading.Thread(target=read)
    thread.start()
    print("x" * 300_000, file=never_failing(sys.__stdout__, writer), end="", flush=True)
    os.close(writer)
    thread.join()
    os.close(reader)
    assert b"".join(received) == b"x" * 300_000


def test_streams_of_tests_and_notebooks_are_not_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    before: TextIO = sys.stdout
    ignore_errors("stdout")
    assert sys.stdout is before


def tfloop(*arguments: str, redirection: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs tfloop with some of its streams redirected; the others are returned."""
    command = ["bash", "-c", f'exec "$0" -m tfloop_cli "$@" {redirection}', sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "redirection", "code", "text"),
    [
        ("list models", ">&- 2>&-", 0, ""),
        ("list models", "> /dev/full", 75, "error: stdout: No space left on device\n"),
        ("--version", "> /dev/full", 75, "error: stdout: No space left on device\n"),
        ("train missing.yaml --json", "> /dev/full 2> /dev/full", 2, ""),
    ],
)
def test_exit_code_with_failing_streams(arguments: str, redirection: str, code: int, text: str, tmp_path: Path) -> None:
    completed = tfloop(*arguments.split(), redirection=redirection, cwd=tmp_path)
    assert (completed.returncode, completed.stdout + completed.stderr) == (code, text)


def test_file_does_not_get_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """Otherwise TensorFlow's messages would be written into a checkpoint."""
    program = """
        import os
        from tfloop_cli.__main__ import open_missing_streams
        open_missing_streams()
        with open("file", "wb"):
            for number in (0, 1, 2):
                os.write(number, b"text")
            print("text", flush=True)
    """
    command = ["bash", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, textwrap.dedent(program)]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "file").read_bytes() == b""
