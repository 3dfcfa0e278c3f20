"""Validates a tree of YAML values: returns a resolved Config, or all problems at once."""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Strict, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from tfloop_cli.config.data_paths import STDIN
from tfloop_cli.config.schema import Config
from tfloop_cli.config.suggestions import COMPONENT_KEYS, LISTS, argument_hint, key_hint, nearest
from tfloop_cli.config.yaml_positions import Node, Source, found, plant
from tfloop_cli.config.yaml_scalars import write
from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.registry import Component, Registry
from tfloop_cli.registry.argument_types import MAX_INT, branches, describe, with_article
from tfloop_cli.registry.declarations import Declaration

MAX_DETAILS = 100  # problems of one mapping; a file with more is not a config
DEFAULTS = Source("default", lines=False)
_LOOKUP = {"data_dir": Path}  # arguments that are used to find a component: prepared datasets of TFDS
_BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false"}  # in YAML 1.1


class Validator:
    """Validates one tree; collects problems instead of stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._chosen: dict[str, Declaration] = {}

    def add(self, node: Node, message: str, hint: str | None = None, at_key: bool = False) -> None:
        """Adds a problem with a value, or with its key."""
        self.problems.append(node.problem(message, hint, at_key))

    def config(self, root: Node) -> tuple[Config | None, Node]:
        """Validates a whole config.

        Returns:
            The config, or None if there are problems; and the tree with the components' defaults filled in.
        """
        root = _as_typed(root, {key: _inside(Config, key) for key in Config.model_fields})
        values, filled = dict(root.plain()), dict(root.value)
        for key, registry in COMPONENT_KEYS.items():
            node = root.value.get(key)
            if node is None:
                continue
            if key in LISTS and isinstance(node.value, list):
                items = [self._component(f"{key}[{index}]", inner, registry) for index, inner in enumerate(node.value)]
                values[key] = [component for component, _ in items]
                filled[key] = replace(node, value=[inner for _, inner in items])
            elif key not in LISTS:
                values[key], filled[key] = self._component(key, node, registry)
        if all(root.value.get(key) is not None and root.value[key].value is not None for key in ("group", "split_by")):
            self.add(root.value["split_by"], "`group` and `split_by` exclude each other", "remove one of them")
        try:
            config = Config.model_validate(values)
        except ValidationError as error:
            config = None
            self._explain(error, root, Config, "")
        ordered = {key: filled[key] for key in Config.model_fields if key in filled}
        return (None if self.problems else config), replace(root, value=ordered)

    def _component(self, path: str, node: Node, registry: Registry) -> tuple[Component, Node]:
        """Validates a component; returns a placeholder for an invalid one, so that the rest is validated too."""
        node = _as_typed(node, str)
        given = {"name": replace(node, key=None)} if isinstance(node.value, str) else node.value
        name = _as_typed(given["name"], str) if isinstance(given, dict) and "name" in given else None
        kind = f"a{'n' if registry.kind[0] in 'aeiou' else ''} {registry.kind}"
        if not isinstance(given, dict):
            self.add(node, f"`{path}` must be the name of {kind}, or a mapping with `name`; found {found(node)}")
        elif name is None:
            self.add(node, f"`{path}` needs a `name`", f"`tfloop list {registry.plural}` lists all")
        elif not isinstance(name.value, str):
            self.add(name, f"`{path}.name` must be the name of {kind}; found {found(name)}")
        else:
            arguments = {key: inner for key, inner in given.items() if key != "name"}
            try:
                plain = {key: _absolute(inner, _LOOKUP.get(key, Any)).plain() for key, inner in arguments.items()}
                declaration = registry.declaration(name.value, plain)
            except TfloopError as error:
                for problem in error.problems:
                    self.add(name, problem.message, problem.hint)
            else:
                self._chosen[path] = declaration
                return self._arguments(path, replace(node, value=arguments), name, declaration)
        return Component("?"), node

    def _arguments(self, path: str, node: Node, name: Node, declaration: Declaration) -> tuple[Component, Node]:
        defaults = {key: plant(value, DEFAULTS) for key, value in declaration.defaults().items()}
        types = {one.name: one.annotation for one in declaration.parameters}
        filled = _absolute(_as_typed(replace(node, value={**defaults, **node.value}), types, in_files=True), types)
        values = filled.plain()
        try:
            values = arguments_adapter(declaration).validate_python(values)
        except ValidationError as error:
            self._explain(error, filled, types, path, declaration)
        return Component(name.value, values), replace(filled, value={"name": name, **filled.value})

    def _explain(
        self, error: ValidationError, root: Node, types: Any, path: str, declaration: Declaration | None = None
    ) -> None:
        """Converts pydantic's errors: one problem per place, even if several branches of a union failed there."""
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
                self.add(
                    node, f"unknown key `{dotted}`", self._key_hint(types, location, path, declaration), at_key=True
                )
            else:
                self.add(
                    node,
                    f"`{dotted}` must be {with_article(describe(annotation))}; found {found(node)}",
                    _value_hint(node, annotation),
                )

    def _key_hint(self, types: Any, location: Sequence[int | str], path: str, declaration: Declaration | None) -> str:
        word = str(location[-1])
        if len(location) > 1:
            return nearest(word, _keys(_parent(types, location)), "the keys are")
        if declaration is None:
            return key_hint(word, self._chosen)
        return argument_hint(word, declaration, COMPONENT_KEYS[path.partition("[")[0]])


def _as_typed(node: Node, types: Any, *, in_files: bool = False) -> Node:
    """Returns the tree with the text that was typed where a key is text and YAML has read a number or a boolean.

    On the command line, where the shell removes quotes (`--name 4711`), and with `in_files` in files, for arguments of
    components: `target: 2020`, `missing_values: [-999]`. `null` stays null, since it means "no value" there.
    """
    if isinstance(node.value, dict | list):
        items = node.value.items() if isinstance(node.value, dict) else enumerate(node.value)
        typed = {step: _as_typed(inner, _inside(types, step), in_files=in_files) for step, inner in items}
        return replace(node, value=typed if isinstance(node.value, dict) else list(typed.values()))
    kinds = [get_origin(one) or one for one in branches(types)]
    if node.source.lines and not in_files:
        return node
    if node.typed is None or not {str, Path} & set(kinds) or type(node.value) in kinds:
        return node
    return replace(node, value=node.typed, typed=None)


def _absolute(node: Node, types: Any) -> Node:
    """Returns the tree with absolute paths where an annotation has Path.

    Paths in a user's own file count from its folder, all others from the current folder; `~` is the home folder.
    """
    if isinstance(node.value, dict):
        return replace(node, value={key: _absolute(inner, _inside(types, key)) for key, inner in node.value.items()})
    if isinstance(node.value, list):
        return replace(node, value=[_absolute(inner, _inside(types, step)) for step, inner in enumerate(node.value)])
    if not isinstance(node.value, str) or node.value in ("", STDIN) or Path not in branches(types):
        return node
    # Not Path.expanduser, which raises for an unknown user.
    path = (node.source.folder or Path()) / os.path.expanduser(node.value)  # noqa: PTH111
    return replace(node, value=os.path.abspath(path))  # noqa: PTH100 (resolve would follow links)


def arguments_adapter(declaration: Declaration) -> TypeAdapter[dict[str, Any]]:
    """Returns the pydantic type of a component's arguments: a mapping with every declared key and no other.

    A TypedDict and not a model, because a model reserves names such as `copy` and `schema`.
    """
    make: Any = TypedDict  # type checkers require a literal name
    shape = make(declaration.name, {one.name: _accept_yaml(one.annotation) for one in declaration.parameters})
    shape.__pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return TypeAdapter(shape)


def _accept_yaml(annotation: Any) -> Any:
    """Returns the same type, but a tuple may be given as a list and a path as text, since YAML has neither."""
    if annotation is Path:
        return Annotated[str, StringConstraints(min_length=1)]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[_accept_yaml(arguments[0]), *arguments[1:]]
    if origin in (Union, UnionType):
        return Union[tuple(_accept_yaml(one) for one in arguments)]  # noqa: UP007 (built from a list)
    if origin is tuple:
        return Annotated[origin[tuple(_accept_yaml(one) for one in arguments)], Strict(False)]
    if origin is list:
        return origin[_accept_yaml(arguments[0])]
    return annotation


def _locate(location: Sequence[int | str], root: Node, types: Any) -> tuple[tuple[int | str, ...], Node, Any]:
    """Follows pydantic's location through the tree; its remaining parts name branches of unions."""
    node, annotation, depth = root, types, 0
    for step in location:
        if (inside := node.child(step)) is None:
            break
        node, annotation, depth = inside, _inside(annotation, step), depth + 1
    return tuple(location[:depth]), node, annotation


def _keys(types: Any) -> list[str]:
    if isinstance(types, Mapping):
        return list(types)
    return [key for one in branches(types) for key in getattr(one, "model_fields", {})]


def _parent(types: Any, location: Sequence[int | str]) -> Any:
    for step in location[:-1]:
        types = _inside(types, step)
    return types


def _inside(annotation: Any, step: int | str) -> Any:
    """Returns the type of an item or a key; Any if the annotation does not specify it."""
    if isinstance(annotation, Mapping):
        return annotation.get(str(step), Any)
    for one in branches(annotation):
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


def _dotted(path: str, location: Sequence[int | str]) -> str:
    for step in location:
        path = f"{path}[{step}]" if isinstance(step, int) else f"{path}.{step}" if path else step
    return path


def _value_hint(node: Node, annotation: Any) -> str | None:
    """Returns a corrected value for one that is nearly right."""
    description = describe(annotation)
    if type(node.value) is int and node.value > MAX_INT and "integer" in description:
        return f"the largest integer is {MAX_INT}"
    if isinstance(node.value, float) and node.value.is_integer() and "integer" in description:
        return f"write it without a point or exponent: `{int(node.value)}`"
    if isinstance(node.value, bool | int | float) and "text" in description:
        return f'in quotes it is text: `"{write(node.value)}"`'
    if isinstance(node.value, str) and "`" in description:
        options = [part for index, part in enumerate(description.split("`")) if index % 2]
        close = difflib.get_close_matches(node.value, options, n=1)
        return f"did you mean `{close[0]}`?" if close else None
    if isinstance(node.value, str) and "true or false" in description and node.value.lower() in _BOOLEANS:
        return f"write `{_BOOLEANS[node.value.lower()]}`"
    return None
