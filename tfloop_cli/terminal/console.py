"""The console: results go to stdout, progress and messages to stderr.

Nothing heavy is imported here, since errors in a config are printed from here too.
"""

import io
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, TextIO

from tfloop_cli.errors import ExitCode, Problem, TfloopError
from tfloop_cli.files import SCHEMA, disk_errors, json_text
from tfloop_cli.terminal.streams import descriptor_of, discard, never_failing

_BOLD, _DIM, _YELLOW = "1", "2", "33"  # ANSI codes
_SPINNER_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SPINNER_SECONDS = 0.1  # between two frames


class Console:
    """Prints messages, results and JSON documents.

    A failing stderr is ignored. A failing stdout ends the command, unless `streams.ignore_errors` replaced it: a closed
    pipe quietly, another error with a TfloopError.

    Args:
        quiet: print only warnings and errors to stderr.
        verbose: also show TensorFlow's own messages.
        json: print JSON documents, one per line, to stdout and nothing else.
        progress: show a progress bar if stderr is a terminal.

    Attributes:
        interactive: stderr is a terminal that supports colors and progress bars: CI and NO_COLOR are not set, and TERM
            is not dumb.
        stderr: the real stderr, also while file descriptor 2 is redirected.
        print_above: set by a live display, so that a line is printed above the progress bar.
    """

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, json: bool = False, progress: bool = True
    ) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.json = json
        self.progress = progress
        self.stdout: TextIO = sys.stdout
        self.stderr: TextIO = _private_copy(sys.stderr)
        self._work_started = self._work_shown = 0.0  # see `show_progress`, seconds
        self.print_above: Callable[[str], None] | None = None
        plain = bool(os.environ.get("CI") or os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self.interactive = self.stderr.isatty() and not plain
        self._colored_results = self.stdout.isatty() and not plain
        if isinstance(self.stdout, io.TextIOWrapper):
            # A Greek class name must not end an evaluation on a Latin-1 terminal.
            self.stdout.reconfigure(errors="backslashreplace")

    @property
    def unicode(self) -> bool:
        """Whether stderr supports more than ASCII."""
        return self.stderr.encoding.lower().startswith("utf")

    @property
    def unicode_results(self) -> bool:
        """Whether stdout supports more than ASCII."""
        return (self.stdout.encoding or "").lower().startswith("utf")

    @property
    def draws_images(self) -> bool:
        """Whether stdout is a terminal that supports colors and half blocks."""
        return self._colored_results and self.unicode_results

    def result(self, text: str) -> None:
        """Prints the result of the command to stdout; nothing with `json`, since the documents contain it."""
        if not self.json:
            self._write(self.stdout, text)

    def document(self, document: Mapping[str, Any]) -> None:
        """Prints one JSON document to stdout, on one line, with the `schema` of all of them."""
        self._write(self.stdout, json_text({"event": document["event"], "schema": SCHEMA} | dict(document)))

    def info(self, text: str) -> None:
        """Prints to stderr, unless quiet."""
        if not self.quiet:
            self._to_stderr(text)

    def note(self, text: str) -> None:
        """Prints a note to stderr, unless quiet."""
        self.info(f"{self._paint('note:', _DIM)} {text}")

    def warn(self, text: str) -> None:
        """Prints a warning to stderr, always."""
        self._to_stderr(f"{self._paint('warning:', _YELLOW)} {text}")

    def error(self, error: TfloopError) -> None:
        """Prints every problem to stderr and, with `json`, an error document to stdout."""
        for problem in error.problems:
            self._to_stderr(self._problem(problem))
        if self.json:
            self.error_document(error)

    def error_document(self, error: TfloopError) -> None:
        """Prints an error document to stdout."""
        problems = [asdict(problem) for problem in error.problems]
        self.document({"event": "error", "code": int(error.code), "errors": problems})

    def heading(self, text: str) -> str:
        """Returns `text` for stdout, in bold if stdout is a terminal."""
        return _painted(text, _BOLD) if self._colored_results else text

    @contextmanager
    def status(self, text: str) -> Iterator[None]:
        """A context of slow work: shows a spinner with `text` on a terminal, else prints one line."""
        if self.quiet or not self.interactive:
            self.info(f"{text} ...")
            yield
            return
        done = threading.Event()
        thread = threading.Thread(target=self._spin, args=[text, done], name="tfloop-spinner", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def show_progress(self, text: str, done: int, total: int | None) -> None:
        """Shows how far slow work is: a line with the time left on a terminal, else one line at the start.

        Args:
            text: describes the work.
            done: items that are done: 0 in the first call, `total` in the last one, which removes the line.
            total: all items; None if their number is not known before the last call.
        """
        now = time.monotonic()
        if not done:
            self._work_started = self._work_shown = now
        if self.quiet or not (self.interactive and self.progress):
            if not done:
                self.info(f"{text} ...")
        elif total is not None and done >= total:
            self._write(self.stderr, "\r\x1b[K", end="")
        elif done and now - self._work_shown >= _SPINNER_SECONDS:
            self._work_shown = now
            line = f"{text}: {done:,}"
            if total is not None:
                minutes, seconds = divmod(round((now - self._work_started) / done * (total - done)), 60)
                line += f" of {total:,} ({done / total:.0%}), {minutes}:{seconds:02} left"
            width = shutil.get_terminal_size().columns - 1
            self._write(self.stderr, f"\r{line[:width]}\x1b[K", end="")

    def _spin(self, text: str, done: threading.Event) -> None:
        frames, number = _SPINNER_FRAMES if self.unicode else "|/-\\", 0
        while not done.is_set():
            self._write(self.stderr, f"\r{frames[number % len(frames)]} {text} ", end="")
            number += 1
            done.wait(_SPINNER_SECONDS)
        self._write(self.stderr, "\r\x1b[K", end="")  # clears the line

    @contextmanager
    def quiet_stderr(self) -> Iterator[None]:
        """A context in which file descriptor 2 is captured, since TensorFlow prints to it when it is loaded.

        If the body raises anything but a TfloopError, the captured text is printed. This console's own messages are
        always printed. Keep the body short: the captured text of a process that aborts is lost.
        """
        if self.verbose:
            yield
            return
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for what C++ logs after the body
        with _temporary_file() as captured, _stderr_to(captured.fileno()):
            try:
                yield
            except TfloopError:
                raise
            except Exception:
                sys.stderr.flush()
                captured.seek(0)
                self._write(self.stderr, captured.read().decode(errors="backslashreplace").rstrip("\n"))
                raise

    def _problem(self, problem: Problem) -> str:
        first, newline, hint = str(problem).partition("\n")
        prefix = "" if problem.file else "error: "
        return self._paint(prefix + first, _BOLD) + newline + hint

    def _paint(self, text: str, code: str) -> str:
        return _painted(text, code) if self.interactive else text

    def _to_stderr(self, text: str) -> None:
        if self.print_above is not None:
            self.print_above(text)
        else:
            self._write(self.stderr, text)

    def _write(self, stream: TextIO, text: str, end: str = "\n") -> None:
        try:
            stream.write(text + end)
            stream.flush()
        except BrokenPipeError:
            discard(stream)
            raise SystemExit(int(ExitCode.CLOSED_PIPE)) from None
        except OSError:
            discard(stream)
            with disk_errors(Path("stdout")):
                raise


def _painted(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"


def _private_copy(stream: TextIO) -> TextIO:
    """Returns a stream to the current target of file descriptor 2; `stream` itself if it is another one."""
    return never_failing(stream, os.dup(2)) if descriptor_of(stream) == 2 else stream


def _temporary_file() -> IO[bytes]:
    """Returns a temporary file; the null device if no folder for one is writable."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "w+b")


@contextmanager
def _stderr_to(descriptor: int) -> Iterator[None]:
    """A context in which file descriptor 2 is a copy of `descriptor`."""
    sys.stderr.flush()
    saved = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
