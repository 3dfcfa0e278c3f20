"""Another implementation in the place of a library's own, for this process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_replaced: list[tuple[Any, str]] = []


def replace(owner: Any, name: str, make: Callable[[Any], Callable[..., Any]]) -> None:
    """Puts `make(own)` in the place of a function or method `own`, once.

    Args:
        owner: a module, a class or a registry's dict.
        name: what is replaced in it.
        make: given what stands there; its function may fall back to it.
    """
    if (owner, name) not in _replaced:
        own = _get(owner, name)
        new: Any = make(own)
        new.own = own
        _set(owner, name, new)
        _replaced.append((owner, name))


@contextmanager
def as_it_was(*owners: Any) -> Iterator[None]:
    """Within it, what was replaced in these stands as it was; in all where none is named."""
    now = [(owner, name, _get(owner, name)) for owner, name in _replaced if not owners or owner in owners]
    for owner, name, new in now:
        _set(owner, name, getattr(new, "own", new))  # within another such block it is back already
    try:
        yield
    finally:
        for owner, name, new in now:
            _set(owner, name, new)


def _get(owner: Any, name: str) -> Any:
    return owner[name] if isinstance(owner, dict) else getattr(owner, name)


def _set(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)
