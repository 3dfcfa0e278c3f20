"""What the builder of a dataset may use besides its arguments: the run's task, and encoders of an earlier run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class BuildContext:
    """The circumstances in which a dataset is built.

    Attributes:
        targets: what the task predicts; None if the data decides.
        encoders: of the run whose weights are used, as `Encoders.to_json` has them; None to fit them to the data.
        training: whether the training split is needed; otherwise its files may be gone.
    """

    targets: Literal["classes", "numbers"] | None = None
    encoders: Mapping[str, Any] | None = None
    training: bool = True


_CURRENT: ContextVar[BuildContext | None] = ContextVar("build_context", default=None)


def build_context() -> BuildContext:
    """Returns the circumstances of the current build."""
    return _CURRENT.get() or BuildContext()


@contextmanager
def use_context(context: BuildContext) -> Iterator[None]:
    """A context in which a dataset is built."""
    token = _CURRENT.set(context)
    try:
        yield
    finally:
        _CURRENT.reset(token)
