"""Errors of compiled graphs: what failed is repeated eagerly, since that error has the line of the user's code."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import tensorflow as tf

from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Batch, Task, uses_autograph
from tfloop_cli.errors import TfloopError
from tfloop_cli.user_code import user_frames

_UNSUPPORTED = re.compile(r"(\w+) \(No registered '\w+' OpKernel for XLA")
_NOT_COMPILED = re.compile(r".*(?:XLA compilation requires|must be a compile-time constant|libdevice|ptxas).*")


@contextmanager
def explain_graph_errors(
    task: Task,
    step: Callable[[TrainState, Batch], object],
    state: TrainState,
    batches: Callable[[], Iterable[Batch]],
    *,
    xla: bool = False,
) -> Iterator[None]:
    """A context of compiled steps; after an error of TensorFlow, the same batches are run eagerly.

    Args:
        task: only steps of a user's task, or of a user's model, are repeated.
        step: the step of the task that the context runs.
        state: its models; it may be changed, since the run ends.
        batches: returns the batches of the context.
        xla: whether XLA compiles the step.

    Raises:
        TfloopError: XLA cannot compile the step (exit code 2).
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise
    except tf.errors.OpError as error:
        if xla and (reason := _why_not_compiled(str(error))):
            raise TfloopError(f"XLA cannot compile the training step: {reason}", hint="use `compile: none`") from error
        own = uses_autograph(task) or any(not _is_library(type(model)) for model in state.models.values())
        if own and not user_frames(error):
            for batch in batches():
                step(state, batch)
        raise


def _why_not_compiled(message: str) -> str | None:
    """Returns why XLA could not compile a graph: the operations that it lacks, or a line of the message."""
    if missing := dict.fromkeys(_UNSUPPORTED.findall(message)):
        return f"it does not support {', '.join(missing)}"
    match = _NOT_COMPILED.search(message)
    return match[0].strip() if match else None


def _is_library(kind: type) -> bool:
    return kind.__module__.split(".")[0] in ("keras", "tfloop_cli")
