"""The one error type of tfloop, and the exit codes it leads to."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What a process of tfloop says to the shell that ran it."""

    DONE = 0
    BUG = 1
    USAGE = 2  # wrong command line or config, or a device that is not there
    BAR_MISSED = 3
    DATA = 4
    DIVERGED = 5
    CHECKPOINT = 6
    TRY_AGAIN = 75  # EX_TEMPFAIL: the disk or a peer failed; nothing is lost
    INTERRUPTED = 130
    TERMINATED = 143


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: what, where, and what to do about it.

    Attributes:
        message: what was found and what is allowed, one sentence.
        file: the file's path as the user typed it, or the option (`--set epochs=x`).
        line: counted from 1; None where the place has no lines.
        column: counted from 1.
        hint: what to do ("did you mean `adam`?").
    """

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        text = f"{place}: {self.message}" if place else self.message
        return f"{text}\n  {self.hint}" if self.hint else text


class TfloopError(Exception):
    """Something that the user can mend; shown without a traceback.

    Args:
        message: the first problem's message; or pass `problems` for several at once.
        hint: what to do.
        code: the process's exit code.
        problems: all that is wrong, in the order in which to read it.
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
