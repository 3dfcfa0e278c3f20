"""The one console: results go to stdout, progress and logs to stderr.

Nothing heavy is imported here, since a failing config comes this way too.
"""

import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, NoReturn, TextIO

from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.jsontext import json_text

CLOSED_PIPE = 141  # 128 + SIGPIPE: what a shell sees of any program whose reader went away

_BOLD, _DIM, _YELLOW = "1", "2", "33"  # ANSI codes


class Console:
    """What the screen is, decided once, and the ways to speak to it.

    Args:
        quiet: nothing on stderr but warnings and errors.
        verbose: TensorFlow's own words too.
        json: stdout carries JSON documents, one a line, and nothing else.
        progress: a progress bar where there is a terminal.

    Attributes:
        lively: stderr is a terminal that may be drawn on: no CI, NO_COLOR or TERM=dumb in the environment.
        stderr: the real stderr, also while file descriptor 2 points elsewhere.
        above: set by a live display, so that a line lands above the progress bar and not in it.
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
        self.above: Callable[[str], None] | None = None
        plain = bool(os.environ.get("CI") or os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self.lively = self.stderr.isatty() and not plain
        self._colored_results = self.stdout.isatty() and not plain
        if isinstance(self.stdout, io.TextIOWrapper):
            # A class name in Greek must not end an evaluation on a Latin-1 terminal.
            self.stdout.reconfigure(errors="backslashreplace")

    @property
    def unicode(self) -> bool:
        """Whether stderr can show more than ASCII."""
        return self.stderr.encoding.lower().startswith("utf")

    def result(self, text: str) -> None:
        """Writes what the command was run for to stdout; with `json` the documents say it instead."""
        if not self.json:
            self._write(self.stdout, text)

    def document(self, document: Mapping[str, Any]) -> None:
        """Writes one JSON document to stdout, as a line."""
        self._write(self.stdout, json_text(document))

    def say(self, text: str) -> None:
        """Writes to stderr, unless quiet."""
        if not self.quiet:
            self._to_stderr(text)

    def note(self, text: str) -> None:
        """Writes something worth knowing to stderr, unless quiet."""
        self.say(f"{self._paint('note:', _DIM)} {text}")

    def warn(self, text: str) -> None:
        """Writes to stderr, always."""
        self._to_stderr(f"{self._paint('warning:', _YELLOW)} {text}")

    def error(self, error: TfloopError) -> None:
        """Writes every problem to stderr, and with `json` a document to stdout too."""
        for problem in error.problems:
            self._to_stderr(self._problem(problem))
        if self.json:
            problems = [asdict(problem) for problem in error.problems]
            self.document({"event": "error", "code": int(error.code), "errors": problems})

    def heading(self, text: str) -> str:
        """`text` for stdout, bold where stdout is a terminal."""
        return _painted(text, _BOLD) if self._colored_results else text

    @contextmanager
    def quiet_stderr(self) -> Iterator[None]:
        """Keeps away what TensorFlow writes to file descriptor 2 as it loads and looks for devices.

        If the body fails by anything but a TfloopError, what was written is shown. This console's own lines are
        always shown. Keep the body short: words of a process that aborts inside it are lost.
        """
        if self.verbose:
            yield
            return
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for what C++ logs after the body
        with tempfile.TemporaryFile() as kept, _stderr_to(kept.fileno()):
            try:
                yield
            except TfloopError:
                raise
            except Exception:
                sys.stderr.flush()
                kept.seek(0)
                self._write(self.stderr, kept.read().decode(errors="backslashreplace").rstrip("\n"))
                raise

    def _problem(self, problem: Problem) -> str:
        first, newline, hint = str(problem).partition("\n")
        prefix = "" if problem.file else "error: "
        return self._paint(prefix + first, _BOLD) + newline + hint

    def _paint(self, text: str, code: str) -> str:
        return _painted(text, code) if self.lively else text

    def _to_stderr(self, text: str) -> None:
        if self.above is not None:
            self.above(text)
        else:
            self._write(self.stderr, text)

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text + "\n")
            stream.flush()
        except BrokenPipeError:
            _leave(stream)


def _painted(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"


def _leave(stream: TextIO) -> NoReturn:
    """Ends the process quietly: the reader of `stream` is gone."""
    # What Python flushes at shutdown has to go somewhere, or it complains of the pipe once more.
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
    raise SystemExit(CLOSED_PIPE)


def _private_copy(stream: TextIO) -> TextIO:
    """A stream to where file descriptor 2 points now, wherever it points later; `stream` itself if it is not that."""
    try:
        if stream.fileno() != 2:
            return stream
    except io.UnsupportedOperation:  # a test's buffer
        return stream
    # Open until the process ends: closing it with the console would warn, and lose a thread's last words.
    return open(os.dup(2), "w", encoding=stream.encoding, errors="backslashreplace", closefd=False)


@contextmanager
def _stderr_to(descriptor: int) -> Iterator[None]:
    """Lets file descriptor 2 point to where `descriptor` does."""
    sys.stderr.flush()
    saved = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
