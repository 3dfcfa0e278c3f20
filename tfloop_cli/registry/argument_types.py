"""Bounded types for the arguments of components and the keys of a config, and their descriptions.

`filters: list[PositiveInt] = [32]` in the signature of a builder is the whole schema of that config key: its value is
checked before anything is built, and `describe` makes the text of error messages and of `tfloop list` from it.
"""

import re
import types
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt


@dataclass(frozen=True)
class Description:
    """Describes a type inside `Annotated` where the generated text would read badly; without an article."""

    text: str


class OnResume(StrEnum):
    """What another value of a key does to a run that is resumed: `key: Annotated[int, OnResume.FREE] = 1`.

    An argument of a component that declares none has that of its component's key (`dataset`, `optimizer` ...).
    """

    FREE = "free"  # completed steps are not affected: used from the start, it would have given the same weights so far
    CHANGES_REST = "changes the rest"  # allowed: the new value holds from the next step on, and metadata says so
    REFUSED = "refused"


MAX_INT = 2**31 - 1
"""The largest value of an integer: products of two, such as epochs and steps, must fit into 64 bits."""
PositiveInt: TypeAlias = Annotated[int, Ge(1), Le(MAX_INT)]
PositiveUint16: TypeAlias = Annotated[int, Ge(1), Le(65535)]
NonNegativeInt: TypeAlias = Annotated[int, Ge(0), Le(MAX_INT)]
Depth: TypeAlias = Annotated[int, Ge(1), Le(1000)]
"""A number of layers, or of other things that Python builds one by one."""
PositiveFloat: TypeAlias = Annotated[float, Gt(0)]
NonNegativeFloat: TypeAlias = Annotated[float, Ge(0)]
NonPositiveFloat: TypeAlias = Annotated[float, Le(0)]
Fraction: TypeAlias = Annotated[float, Ge(0), Le(1)]
"""A fraction from 0 to 1, both included."""
FractionBelowOne: TypeAlias = Annotated[float, Ge(0), Lt(1)]
"""A fraction from 0, included, to 1, excluded: a dropout rate, a momentum."""
ExclusiveFraction: TypeAlias = Annotated[float, Gt(0), Lt(1)]
"""A fraction strictly between 0 and 1."""
Probability: TypeAlias = Fraction
"""A probability from 0 to 1, both included."""

_PLAIN = {
    int: "integer", float: "number", str: "text", bool: "true or false", Path: "path", type(None): "null",
    Any: "anything",
}  # fmt: skip
_BOUNDS = ((Ge, "ge", "at least"), (Gt, "gt", "above"), (Le, "le", "at most"), (Lt, "lt", "below"))


def branches(annotation: Any) -> list[Any]:
    """Returns the members of a union, without `Annotated`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return branches(arguments[0])
    if isinstance(annotation, type) or origin in (list, tuple, dict):
        return [annotation]
    return [inner for one in arguments for inner in branches(one)]


def with_paths(value: Any, annotation: Any) -> Any:
    """Returns an argument as its builder expects it: text is a Path where the annotation has Path."""
    found = branches(annotation)
    if isinstance(value, str):
        return Path(value) if Path in found else value
    if isinstance(value, list | tuple):
        inside = next((get_args(one)[0] for one in found if get_origin(one) in (list, tuple)), Any)
        return type(value)(with_paths(one, inside) for one in value)
    return value


def describe(annotation: Any) -> str:
    """Describes in English, without an article, what an annotation allows: "integer, at least 1"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _describe_annotated(arguments[0], arguments[1:])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        # "null or number, at least 0": the other order would read as if the bound had an alternative.
        return " or ".join(describe(one) for one in sorted(arguments, key=lambda one: one is not type(None)))
    if origin is list or (origin is tuple and arguments[-1] is Ellipsis):
        return f"list of {_plural(arguments[0])}"
    if origin is tuple and len(set(arguments)) == 1:
        return f"list of {len(arguments)} {_plural(arguments[0])}"
    if origin is tuple:
        return f"list of {len(arguments)}: {'; '.join(describe(one) for one in arguments)}"
    if origin is dict:
        return f"mapping of text to {_plural(arguments[1])}"
    if annotation in (list, tuple, dict):
        return "mapping" if annotation is dict else "list"
    fields = getattr(annotation, "model_fields", None)
    if fields is not None:
        return f"mapping with {', '.join(f'`{key}`' for key in fields)}"
    return _PLAIN.get(annotation) or str(getattr(annotation, "__name__", annotation))


def with_article(description: str) -> str:
    """Adds an article where a sentence needs one: an integer, a number, text, null or a number."""
    if other := re.match("(null|`[^`]*`) or ", description):
        return other[0] + with_article(description[other.end() :])
    if description.startswith("integer"):
        return f"an {description}"
    return f"a {description}" if description.startswith(("number", "list", "mapping", "path")) else description


def _plural(annotation: Any) -> str:
    description = describe(annotation)
    for one in ("integer", "number", "list", "mapping", "path"):
        if description.startswith(one):
            return f"{one}s{description.removeprefix(one)}"
    return description


def _describe_annotated(base: Any, metadata: tuple[Any, ...]) -> str:
    for item in metadata:
        if isinstance(item, Description):
            return item.text
    # A pydantic Field has the same bounds one level deeper.
    items = [inner for item in metadata for inner in getattr(item, "metadata", [item])]
    bounds = [
        (kind, getattr(item, name), words) for item in items for kind, name, words in _BOUNDS if type(item) is kind
    ]
    bounds = [bound for bound in bounds if bound[:2] != (Le, MAX_INT)]  # an error message has it where it matters
    limits = {kind: limit for kind, limit, _ in bounds}
    if set(limits) == {Ge, Le}:
        return f"{describe(base)} from {limits[Ge]} to {limits[Le]}"
    return ", ".join([describe(base), *(f"{words} {limit}" for _, limit, words in bounds)])
