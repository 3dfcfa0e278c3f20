"""Makes the names of columns distinct, as pandas does: the second `x` is `x.1`."""

from collections import Counter
from collections.abc import Iterable, Sequence


def distinct(names: Sequence[str]) -> list[str]:
    """Returns names in order, with a number after each that was there before: x, x.1, x.2."""
    taken, seen, found = set(names), Counter[str](), []
    for name in names:
        new = name
        while seen[name] and new in taken:
            new = f"{name}.{seen[name]}"
            seen[name] += 1
        seen[name] = max(seen[name], 1)
        taken.add(new)
        found.append(new)
    return found


def repeated(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the names that several columns have."""
    return tuple(name for name, count in Counter(names).items() if count > 1)
