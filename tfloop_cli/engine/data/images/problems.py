"""The error of an image that cannot be used."""

from tfloop_cli.errors import ExitCode, Problem, TfloopError


def invalid_image(path: str, reason: str, hint: str | None = None) -> TfloopError:
    """Returns the error for an image that cannot be used (exit code 4)."""
    hint = hint or "remove the file, or use `--set on_bad_example=skip`"
    return TfloopError(problems=[Problem(f"this image cannot be used: {reason}", path, hint=hint)], code=ExitCode.DATA)
