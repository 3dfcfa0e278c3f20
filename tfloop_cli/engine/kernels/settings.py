"""Which of the faster implementations the current context uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class KernelSettings:
    """Which of the faster implementations a run uses.

    Attributes:
        enabled: whether to replace any implementation; only on a CPU.
        native_threads: threads per C++ operation; 0 if layers do not use them.
        xla: whether XLA compiles the graph; it does not support all replacements.
    """

    enabled: bool = False
    native_threads: int = 0
    xla: bool = False


_DISABLED = KernelSettings()
_current: ContextVar[KernelSettings] = ContextVar("kernel_settings", default=_DISABLED)


def current_settings() -> KernelSettings:
    """Returns the settings of the current context; everything is disabled outside of `use_settings`."""
    return _current.get()


@contextmanager
def use_settings(settings: KernelSettings) -> Iterator[None]:
    """A context with these settings."""
    token = _current.set(settings)
    try:
        yield
    finally:
        _current.reset(token)
