"""Which of the faster implementations the current context uses."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import tensorflow as tf


@dataclass(frozen=True)
class KernelSettings:
    """Which of the faster implementations a run uses.

    Attributes:
        enabled: whether to replace any implementation; only on a CPU.
        native_threads: threads per C++ operation; 0 if they are not used.
        xla: whether XLA compiles the graph; it does not support all replacements.
    """

    enabled: bool = False
    native_threads: int = 0
    xla: bool = False


_DISABLED = KernelSettings()
_current: ContextVar[KernelSettings] = ContextVar("kernel_settings", default=_DISABLED)


def current_settings() -> KernelSettings:
    """Returns the settings of the current context; everything is disabled outside of `use_settings`.

    In a `tf.function(jit_compile=True)` of the user, they are those for XLA.
    """
    settings = _current.get()
    return replace(settings, native_threads=0, xla=True) if settings.enabled and _traces_for_xla() else settings


@contextmanager
def use_settings(settings: KernelSettings) -> Iterator[None]:
    """A context with these settings."""
    token = _current.set(settings)
    try:
        yield
    finally:
        _current.reset(token)


def _traces_for_xla() -> bool:
    """Whether a function that XLA will compile is being traced; only the callers know."""
    frame = sys._getframe()
    while frame := frame.f_back:
        owner = frame.f_locals.get("self")
        if isinstance(owner, tf.types.experimental.PolymorphicFunction) and getattr(owner, "_jit_compile", False):
            return True
    return False
