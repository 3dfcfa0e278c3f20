"""Temporary replacements of library functions: in one context, in one thread, and undone afterwards.

`kernels/__init__.py` decides which operations of Keras are replaced, and when.
"""

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

_MISSING = object()


@dataclass(frozen=True, eq=False)
class Patch:
    """A replacement for a function or method of a library.

    Attributes:
        owner: a module, a class, or a dict, such as an entry of TensorFlow's gradient registry.
        name: the name of the function in it.
        make: returns the replacement, given the original, which the replacement may fall back to.
    """

    owner: Any
    name: str
    make: Callable[[Any], Callable[..., Any]]


@dataclass
class _Installed:
    """A patch that is installed in its owner, and how many contexts use it."""

    original: Any
    users: int = 0


_active: ContextVar[frozenset[Patch]] = ContextVar("active_patches", default=frozenset())
_disabled: ContextVar[tuple[Any, ...] | None] = ContextVar("disabled_owners", default=())  # None: all owners
_installed: dict[Patch, _Installed] = {}
_lock = threading.Lock()


@contextmanager
def patched(patches: Sequence[Patch]) -> Iterator[None]:
    """A context in which the patches are active. Other threads and contexts keep using the originals.

    The owners are restored when no context uses the patches any more, also after an exception.
    """
    token = _active.set(_active.get() | frozenset(patches))
    used: list[Patch] = []
    try:
        for patch in patches:
            _install(patch)
            used.append(patch)
        yield
    finally:
        for patch in reversed(used):
            _uninstall(patch)
        _active.reset(token)


@contextmanager
def original_implementations(*owners: Any) -> Iterator[None]:
    """A context in which the patches of these owners are inactive. Without arguments, all patches are inactive."""
    before = _disabled.get()
    token = _disabled.set(None if not owners or before is None else (*before, *owners))
    try:
        yield
    finally:
        _disabled.reset(token)


def _install(patch: Patch) -> None:
    with _lock:
        if patch not in _installed:
            original = _get(patch)
            _installed[patch] = _Installed(_own(patch))
            _set(patch, _dispatcher(patch, original))
        _installed[patch].users += 1


def _uninstall(patch: Patch) -> None:
    with _lock:
        installed = _installed[patch]
        installed.users -= 1
        if not installed.users:
            del _installed[patch]
            _set(patch, installed.original)


def _dispatcher(patch: Patch, original: Callable[..., Any]) -> Callable[..., Any]:
    replacement = patch.make(original)

    @functools.wraps(original)
    def call(*arguments: Any, **keywords: Any) -> Any:
        return (replacement if _is_active(patch) else original)(*arguments, **keywords)

    return call


def _is_active(patch: Patch) -> bool:
    disabled = _disabled.get()
    return patch in _active.get() and disabled is not None and not any(owner is patch.owner for owner in disabled)


def _get(patch: Patch) -> Any:
    return patch.owner[patch.name] if isinstance(patch.owner, dict) else getattr(patch.owner, patch.name)


def _own(patch: Patch) -> Any:
    """Returns what the owner itself has, not what a class inherits."""
    return patch.owner[patch.name] if isinstance(patch.owner, dict) else vars(patch.owner).get(patch.name, _MISSING)


def _set(patch: Patch, value: Any) -> None:
    if isinstance(patch.owner, dict):
        patch.owner[patch.name] = value
    elif value is _MISSING:
        delattr(patch.owner, patch.name)
    else:
        setattr(patch.owner, patch.name, value)
