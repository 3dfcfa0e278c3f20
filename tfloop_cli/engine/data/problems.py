"""The errors of data files: each has the file and the line."""

from typing import NoReturn

from tfloop_cli.errors import ExitCode, Problem, TfloopError


def refuse(file: str, line: int | None, problem: str, hint: str | None = None) -> NoReturn:
    """Raises TfloopError (exit code 4) at a place in a data file."""
    raise TfloopError(problems=[Problem(problem, file, line, hint=hint)], code=ExitCode.DATA)


def invalid_row(split: str, file: str, line: int | None, problem: str, hint: str | None = None) -> TfloopError:
    """Returns the error for an invalid example of a split (exit code 4)."""
    return TfloopError(problems=[Problem(f"split `{split}`: {problem}", file, line, hint=hint)], code=ExitCode.DATA)


def wrong_byte(error: UnicodeDecodeError) -> str:
    """Returns what is wrong with bytes that cannot be decoded."""
    return f"byte 0x{error.object[error.start]:02x} is not {'UTF-8' if error.encoding == 'utf-8' else error.encoding}"
