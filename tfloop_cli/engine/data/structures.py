"""Structures of arrays: one array, a dict of arrays by name, or a tuple of arrays in order."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Structure: TypeAlias = Any  # one value, a dict of values by name, or a tuple of values


def is_several(structure: Structure) -> bool:
    """Whether a structure is a dict or a tuple."""
    return isinstance(structure, Mapping | tuple)


def map_structure(function: Callable[..., Any], structure: Structure, *others: Structure) -> Structure:
    """Returns the results of a function of each value, in the same structure.

    Args:
        function: receives a value of `structure`, and those of `others` with the same name or index.
        structure: decides the structure of the result.
        others: structures with at least the same names, or the same number of values.
    """
    if isinstance(structure, Mapping):
        return {name: function(value, *(other[name] for other in others)) for name, value in structure.items()}
    if isinstance(structure, tuple):
        return tuple(function(*values) for values in zip(structure, *others, strict=True))
    return function(structure, *others)


def named_values(structure: Structure) -> list[tuple[str, Any]]:
    """Returns each value with its name, or its index in a tuple; one value has the name ""."""
    if isinstance(structure, Mapping):
        return list(structure.items())
    if isinstance(structure, tuple):
        return [(str(index), value) for index, value in enumerate(structure)]
    return [("", structure)]


def structure_like(like: Structure, values: Mapping[str, Any]) -> Structure:
    """Returns values by name, as in `named_values`, in the structure of `like`.

    Raises:
        KeyError: a value is missing.
    """
    following = iter([values[name] for name, _ in named_values(like)])
    return map_structure(lambda _: next(following), like)


def names_of(structure: Structure) -> str:
    """Returns the names of a structure for a message."""
    return ", ".join(f"`{name}`" for name, _ in named_values(structure))


def in_order_of(structure: Structure, values: Structure) -> Structure:
    """Returns values by name in the order of a structure with the same names; others as they are."""
    if isinstance(structure, Mapping) and isinstance(values, Mapping) and set(structure) == set(values):
        return {name: values[name] for name in structure}
    return values
