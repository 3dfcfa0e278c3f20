"""A tree of YAML values -> a resolved Config, or every problem at once, in the user's words."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Strict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from tfloop_cli.config import Config
from tfloop_cli.declarations import Declaration
from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.fields import describe, with_article
from tfloop_cli.registry import Component, Registry, augmentations, datasets, models, optimizers, schedules, tasks
from tfloop_cli.yamltree import Node, Source, found, plant

COMPONENTS: Mapping[str, Registry] = {
    "dataset": datasets,
    "model": models,
    "task": tasks,
    "optimizer": optimizers,
    "schedule": schedules,
    "augment": augmentations,
}
MAX_DETAILS = 100  # problems of one mapping; more say that it is no config at all
DEFAULTS = Source("default", lines=False)


class Check:
    """One pass over a tree; collects problems instead of stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, node: Node, message: str, hint: str | None = None, at_key: bool = False) -> None:
        """Notes that something is wrong with a value, or with its key."""
        self.problems.append(node.problem(message, hint, at_key))

    def config(self, root: Node) -> tuple[Config | None, Node]:
        """Checks everything.

        Returns:
            the config, or None if anything is wrong; and the tree with the components' own defaults filled in.
        """
        values, filled = dict(root.plain()), dict(root.value)
        for key, registry in COMPONENTS.items():
            node = root.value.get(key)
            if node is None:
                continue
            if key == "augment" and isinstance(node.value, list):
                made = [self._component(f"{key}[{index}]", inner, registry) for index, inner in enumerate(node.value)]
                values[key] = [component for component, _ in made]
                filled[key] = replace(node, value=[inner for _, inner in made])
            elif key != "augment":
                values[key], filled[key] = self._component(key, node, registry)
        try:
            config = Config.model_validate(values)
        except ValidationError as error:
            config = None
            self._explain(error, root, Config, "")
        ordered = {key: filled[key] for key in Config.model_fields if key in filled}
        return (None if self.problems else config), replace(root, value=ordered)

    def _component(self, path: str, node: Node, registry: Registry) -> tuple[Component, Node]:
        """Checks a component; a wrong one becomes a stand-in, so that the rest is checked as well."""
        given = {"name": replace(node, key=None)} if isinstance(node.value, str) else node.value
        name = given.get("name") if isinstance(given, dict) else None
        kind = f"a{'n' if registry.kind[0] in 'aeiou' else ''} {registry.kind}"
        if not isinstance(given, dict):
            self.add(node, f"`{path}` must be the name of {kind}, or a mapping with `name`; found {found(node)}")
        elif name is None:
            self.add(node, f"`{path}` needs a `name`", f"`tfloop list {registry.plural}` shows all")
        elif not isinstance(name.value, str):
            self.add(name, f"`{path}.name` must be the name of {kind}; found {found(name)}")
        else:
            arguments = {key: inner for key, inner in given.items() if key != "name"}
            try:
                declaration = registry.declaration(name.value, {key: inner.plain() for key, inner in arguments.items()})
            except TfloopError as error:
                for problem in error.problems:
                    self.add(name, problem.message, problem.hint)
            else:
                return self._arguments(path, replace(node, value=arguments), name, declaration)
        return Component("?"), node

    def _arguments(self, path: str, node: Node, name: Node, declaration: Declaration) -> tuple[Component, Node]:
        defaults = {key: plant(value, DEFAULTS) for key, value in declaration.defaults().items()}
        filled = replace(node, value={**defaults, **node.value})
        values = filled.plain()
        try:
            values = argument_shape(declaration).validate_python(values)
        except ValidationError as error:
            types = {one.name: one.annotation for one in declaration.parameters}
            self._explain(error, filled, types, path, f"`{name.value}` takes")
        return Component(name.value, values), replace(filled, value={"name": name, **filled.value})

    def _explain(self, error: ValidationError, root: Node, types: Any, path: str, owner: str = "the keys are") -> None:
        """Puts pydantic's findings into words: one problem a place, however many branches of a union failed there."""
        seen: set[tuple[Any, ...]] = set()
        details = error.errors(include_url=False, include_context=False, include_input=False)
        if len(details) > MAX_DETAILS:
            self.add(root, f"{len(details):,} problems; the first {MAX_DETAILS} of them")
        for detail in details[:MAX_DETAILS]:
            location, node, annotation = _locate(detail["loc"], root, types)
            missing = detail["loc"][-1:] if detail["type"] == "missing" else ()
            if (location, missing) in seen:
                continue
            seen.add((location, missing))
            dotted = _dotted(path, (*location, *missing))
            if missing:
                self.add(node, f"`{dotted}` is required: {with_article(describe(_inside(annotation, missing[0])))}")
            elif detail["type"] == "extra_forbidden":
                known = _keys(_parent(types, location))
                self.add(node, f"unknown key `{dotted}`", nearest(str(location[-1]), known, owner), at_key=True)
            else:
                self.add(
                    node,
                    f"`{dotted}` must be {with_article(describe(annotation))}; found {found(node)}",
                    _mend(node, annotation),
                )


def nearest(word: str, known: Iterable[str], owner: str) -> str:
    """A hint at what was meant, or at all there is."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"{owner} {', '.join(f'`{one}`' for one in names)}" if names else f"{owner} no arguments"


def argument_shape(declaration: Declaration) -> TypeAdapter[dict[str, Any]]:
    """What pydantic checks a component's arguments by: a mapping with every declared key and no other.

    A TypedDict and not a model, because a model keeps names such as `copy` and `schema` for itself.
    """
    make: Any = TypedDict  # type checkers want a literal name
    shape = make(declaration.name, {one.name: _loose(one.annotation) for one in declaration.parameters})
    shape.__pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return TypeAdapter(shape)


def _loose(annotation: Any) -> Any:
    """The same type, where a tuple may be given as the list that YAML has for it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[_loose(arguments[0]), *arguments[1:]]
    if origin in (Union, UnionType):
        return Union[tuple(_loose(one) for one in arguments)]  # noqa: UP007 (made of a list)
    if origin is tuple:
        return Annotated[origin[tuple(_loose(one) for one in arguments)], Strict(False)]
    if origin is list:
        return origin[_loose(arguments[0])]
    return annotation


def _locate(location: Sequence[int | str], root: Node, types: Any) -> tuple[tuple[int | str, ...], Node, Any]:
    """Follows pydantic's location as far as it names places of the tree; the rest names branches of unions."""
    node, annotation, depth = root, types, 0
    for step in location:
        if (inside := node.child(step)) is None:
            break
        node, annotation, depth = inside, _inside(annotation, step), depth + 1
    return tuple(location[:depth]), node, annotation


def _keys(types: Any) -> list[str]:
    if isinstance(types, Mapping):
        return list(types)
    return [key for one in _branches(types) for key in getattr(one, "model_fields", {})]


def _parent(types: Any, location: Sequence[int | str]) -> Any:
    for step in location[:-1]:
        types = _inside(types, step)
    return types


def _inside(annotation: Any, step: int | str) -> Any:
    """The type of an item or a key; Any where the type does not tell."""
    if isinstance(annotation, Mapping):
        return annotation.get(str(step), Any)
    for one in _branches(annotation):
        origin, arguments = get_origin(one), get_args(one)
        if isinstance(step, int) and origin is list:
            return arguments[0]
        if isinstance(step, int) and origin is tuple:
            return arguments[0] if arguments[-1] is Ellipsis else arguments[min(step, len(arguments) - 1)]
        if isinstance(step, str) and origin is dict:
            return arguments[1]
        if isinstance(one, type) and issubclass(one, BaseModel) and step in one.model_fields:
            field = one.model_fields[str(step)]
            return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return Any


def _branches(annotation: Any) -> list[Any]:
    """The members of a union, without `Annotated`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _branches(arguments[0])
    if isinstance(annotation, type) or origin in (list, tuple, dict):
        return [annotation]
    return [inner for one in arguments for inner in _branches(one)]


def _dotted(path: str, location: Sequence[int | str]) -> str:
    for step in location:
        path = f"{path}[{step}]" if isinstance(step, int) else f"{path}.{step}" if path else step
    return path


def _mend(node: Node, annotation: Any) -> str | None:
    """What to write instead, where the text is nearly right."""
    words = describe(annotation)
    if isinstance(node.value, float) and node.value.is_integer() and "integer" in words:
        return f"write it without a point or exponent: `{int(node.value)}`"
    if isinstance(node.value, str) and "`" in words:
        options = [word for index, word in enumerate(words.split("`")) if index % 2]
        close = difflib.get_close_matches(node.value, options, n=1)
        return f"did you mean `{close[0]}`?" if close else None
    if isinstance(node.value, str) and "true or false" in words and node.value.lower() in ("yes", "no", "on", "off"):
        return f"write `{'true' if node.value.lower() in ('yes', 'on') else 'false'}`"
    return None
