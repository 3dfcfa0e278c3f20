"""The errors of an image that cannot be used."""

from tfloop_cli.errors import ExitCode, Problem, TfloopError


class UndecodableImageError(TfloopError):
    """The content of a file is no image that can be decoded."""


def invalid_image(
    path: str, reason: str, hint: str | None = None, kind: type[TfloopError] = TfloopError
) -> TfloopError:
    """Returns the error for an image that cannot be used (exit code 4)."""
    hint = hint or "remove the file, or use `--set on_bad_example=skip`"
    return kind(problems=[Problem(f"this image cannot be used: {reason}", path, hint=hint)], code=ExitCode.DATA)
