"""The error type of tfloop, and the exit codes of its commands."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """The exit code of a tfloop process.

    Attributes:
        meaning: as `tfloop explain` and docs/commands.md have it.
    """

    meaning: str

    def __new__(cls, number: int, meaning: str) -> "ExitCode":
        code = int.__new__(cls, number)
        code._value_, code.meaning = number, meaning
        return code

    DONE = 0, "success; also a run that `--max-time` has stopped, if its thresholds passed"
    BUG = 1, "a bug of tfloop; a traceback is printed"
    USAGE = 2, "wrong command line or config, or something it needs is unavailable: a device, a package, TensorFlow"
    THRESHOLD_FAILED = 3, "a check failed or was impossible: threshold, baseline, exported model, reproduced run"
    DATA = 4, "data is unavailable, cannot be read or has an invalid example; findings of `inspect data --strict`"
    DIVERGED = 5, "training diverged: a value is NaN or infinite; earlier checkpoints are kept"
    CHECKPOINT = 6, "a checkpoint is missing, damaged, or does not match the model"
    USER_CODE = 7, "user code raised an exception or returned something unusable; its own lines are shown first"
    OUT_OF_MEMORY = 8, "out of memory; the message names the tensor and the keys that need less"
    TRY_AGAIN = 75, "a temporary failure: disk error, tracker, or preemption by SIGUSR1; retry, `train` with `--resume`"
    HANGUP = 129, "stopped by SIGHUP (terminal closed); the training state is saved, thresholds are not checked"
    INTERRUPTED = 130, "stopped by SIGINT (Ctrl-C); the training state is saved, thresholds are not checked"
    CLOSED_PIPE = 141, "the reader of a pipe has closed it, as `head -1` does; `tfloop train` goes on without a screen"
    TERMINATED = 143, "stopped by SIGTERM; the training state is saved, thresholds are not checked"


@dataclass(frozen=True)
class Problem:
    """One problem: what is wrong, where, and what to do.

    Attributes:
        message: what was found and what is allowed, in one sentence.
        file: the path as the user typed it, or the option (`--set epochs=x`).
        line: counted from 1; None if the place has no lines.
        column: counted from 1.
        hint: what to do ("did you mean `adam`?").
    """

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None

    @property
    def place(self) -> str:
        """File, line and column, as far as they are known."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text}\n  {self.hint}" if self.hint else text


def short_path(path: Path) -> str:
    """Returns a path as messages show it: relative to the current folder if it is below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


class TfloopError(Exception):
    """An error that the user can fix; shown without a traceback.

    Args:
        message: of the only problem; or pass `problems` for several at once.
        hint: what to do.
        code: the exit code of the process.
        problems: all problems, in the order in which to read them.
    """

    def __init__(
        self,
        message: str = "",
        *,
        hint: str | None = None,
        code: ExitCode = ExitCode.USAGE,
        problems: Sequence[Problem] = (),
    ) -> None:
        self.problems = tuple(problems) or (Problem(message, hint=hint),)
        self.code = code
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def add_hint(self, hint: str) -> None:
        """Adds to the hint of the last problem what is known only where the error is handled."""
        *others, last = self.problems
        self.problems = (*others, replace(last, hint=f"{last.hint}; {hint}" if last.hint else hint))
        self.args = ("\n".join(str(problem) for problem in self.problems),)
