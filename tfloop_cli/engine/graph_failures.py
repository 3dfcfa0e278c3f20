"""Repeats what failed in a compiled graph eagerly: that error has the line of the user's code, the graph's has none."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import tensorflow as tf

from tfloop_cli.engine.state import TrainState
from tfloop_cli.engine.tasks import Batch, Task, uses_autograph
from tfloop_cli.user_code import user_frames


@contextmanager
def explain_graph_errors(
    task: Task, step: Callable[[TrainState, Batch], object], state: TrainState, batches: Callable[[], Iterable[Batch]]
) -> Iterator[None]:
    """A context of compiled steps; after an error of TensorFlow, the same batches are run eagerly.

    Args:
        task: only steps of a user's task, or of a user's model, are repeated.
        step: the step of the task that the context runs.
        state: its models; it may be changed, since the run ends.
        batches: returns the batches of the context.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise
    except tf.errors.OpError as error:
        own = uses_autograph(task) or any(not _is_library(type(model)) for model in state.models.values())
        if own and not user_frames(error):
            for batch in batches():
                step(state, batch)
        raise


def _is_library(kind: type) -> bool:
    return kind.__module__.split(".")[0] in ("keras", "tfloop_cli")
