"""Errors of user code: finds its frames in an exception, also through AutoGraph, Keras and TensorFlow's graphs."""

import re
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path

from tfloop_cli.errors import ExitCode, Problem, TfloopError

_PACKAGE = str(Path(__file__).parent)
_PATHS = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
_LIBRARIES = tuple(f"{path}/" for path in {sysconfig.get_path(name) for name in _PATHS} | {_PACKAGE})
_GENERATED = "__autograph_generated_file"  # AutoGraph's copies of functions
_IN_MESSAGE = re.compile(r'File "([^"\n]+)", line (\d+), in (\S+)')  # of a graph's operation that failed at run time

Frame = traceback.FrameSummary


def user_frames(error: BaseException) -> list[Frame]:
    """Returns the frames of an exception in files that belong neither to tfloop nor to an installed package.

    The outermost frame comes first. The list is empty if no such code was involved.
    """
    error = original(error)
    metadata = getattr(error, "ag_error_metadata", None)
    frames = called_by_tfloop(traceback.extract_tb(error.__traceback__))
    if metadata is not None:  # where the generated code comes from
        converted = [Frame(one.filename, one.lineno, one.function_name) for one in reversed(metadata.translated_stack)]
        frames = [*frames, *converted]
    frames += called_by_tfloop([Frame(file, int(line), name) for file, line, name in _IN_MESSAGE.findall(str(error))])
    own = [frame for frame in frames if is_user_file(frame.filename)]
    return list({(frame.filename, frame.lineno): frame for frame in own}.values())


def called_by_tfloop(frames: Sequence[Frame]) -> list[Frame]:
    """Returns the frames from the first of tfloop on, without those that have called it: a script, a notebook."""
    first = next((number for number, frame in enumerate(frames) if frame.filename.startswith(f"{_PACKAGE}/")), 0)
    return list(frames[first:])


def original(error: BaseException) -> BaseException:
    """Returns the exception that was raised first: AutoGraph and Keras raise new ones with longer messages."""
    while (context := error.__context__) is not None:
        metadata = getattr(error, "ag_error_metadata", None)
        replaced = metadata is not None and getattr(context, "ag_error_metadata", None) is metadata
        if not replaced and not getattr(error, "_keras_call_info_injected", False):
            break
        error = context
    return error


def user_traceback(error: BaseException) -> str:
    """Returns the traceback of an exception from the user's outermost frame on; "" if it has only the user's frames.

    Frames of tfloop and of what called it are left out. Exceptions that did not pass through user code are too.
    """
    shown = traceback.TracebackException.from_exception(error)
    one: traceback.TracebackException | None = shown
    libraries = False
    while one is not None:
        own = [is_user_file(frame.filename) for frame in one.stack]
        called = [frame.filename.startswith(f"{_PACKAGE}/") for frame in one.stack]
        first = called.index(True) if any(called) else 0  # what comes before has called tfloop: a script, a notebook
        start = own.index(True, first) if any(own[first:]) else len(own)
        libraries = libraries or not all(own[start:])
        one.stack = traceback.StackSummary.from_list(one.stack[start:])
        before = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        if before is not None and not any(is_user_file(frame.filename) for frame in before.stack):
            one.__cause__ = one.__context__ = before = None
        one = before
    return "".join(shown.format()).rstrip() if libraries else ""


def user_error(error: BaseException) -> TfloopError | None:
    """Returns the error to show for an exception; None if no user code was involved.

    A TfloopError is returned as it was raised; for another exception, one with the user's frames and exit code 7.
    """
    first = original(error)
    if isinstance(first, TfloopError):
        return first
    if not (frames := user_frames(error)):
        return None
    last = frames[-1]
    text = _first_sentence(str(first))
    trace = "".join(traceback.format_list(frames)).rstrip()
    notes = "".join(f"{note}\n" for note in getattr(first, "__notes__", ()))
    return TfloopError(
        problems=[
            Problem(
                f"{type(first).__name__}: {text}" if text else type(first).__name__,
                last.filename,
                last.lineno,
                hint=f"{notes}raised by user code, most recent call last:\n{trace}",
            )
        ],
        code=ExitCode.USER_CODE,
    )


def bug(error: BaseException) -> TfloopError:
    """Returns the error to show for an exception in which no user code was involved (exit code 1)."""
    text = _first_sentence(str(error))
    trace = "".join(traceback.format_exception(error)).rstrip()
    return TfloopError(
        f"{type(error).__name__}: {text}" if text else type(error).__name__,
        hint=f"this is a bug of tfloop:\n{trace}",
        code=ExitCode.BUG,
    )


def _first_sentence(message: str) -> str:
    """Returns the first line of a message that is not about the graph in which it was raised."""
    lines = [re.sub(r"\{\{function_node .*?\}\} ", "", line) for line in message.splitlines()]
    graph = ("Graph execution error", "Detected at node", "<stack traces", " ", "\t")
    return next((line for line in lines if line and not line.startswith(graph)), message.strip())


def is_user_file(file: str) -> bool:
    """Whether a file belongs neither to tfloop nor to an installed package or Python itself."""
    compiled = file.endswith((".pyx", ".pxd"))  # NumPy's own, relative to an unknown folder
    return not file.startswith(("<", *_LIBRARIES)) and _GENERATED not in file and not compiled
