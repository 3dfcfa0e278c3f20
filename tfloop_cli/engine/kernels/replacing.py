"""Another implementation in the place of a library's own, for this process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_replaced: list[tuple[Any, str]] = []


def replace(owner: Any, name: str, make: Callable[[Any], Callable[..., Any]]) -> None:
    """Puts `make(own)` in the place of a function or method `own`, once.

    Args:
        owner: a module or a class.
        name: what is replaced in it.
        make: given what stands there; its function may fall back to it.
    """
    if (owner, name) not in _replaced:
        own = getattr(owner, name)
        new: Any = make(own)
        new.own = own
        setattr(owner, name, new)
        _replaced.append((owner, name))


@contextmanager
def as_it_was(*owners: Any) -> Iterator[None]:
    """Within it, what was replaced in these stands as it was; in all where none is named."""
    now = [(owner, name, getattr(owner, name)) for owner, name in _replaced if not owners or owner in owners]
    for owner, name, new in now:
        setattr(owner, name, getattr(new, "own", new))
    try:
        yield
    finally:
        for owner, name, new in now:
            setattr(owner, name, new)
