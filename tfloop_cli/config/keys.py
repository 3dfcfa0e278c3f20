"""Every key of a config with its type, default and description, for docs and for `explain` and `init`."""

import difflib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tfloop_cli.config.on_resume import policies
from tfloop_cli.config.schema import Config
from tfloop_cli.config.suggestions import COMPONENT_KEYS, SYNONYMS
from tfloop_cli.registry import REGISTRIES, Component
from tfloop_cli.registry.argument_types import OnResume, describe


@dataclass(frozen=True)
class Key:
    """One key of the schema.

    Attributes:
        path: dotted, such as "checkpoint.keep".
        type: what it accepts, in English: "integer, at least 1".
        required: whether it has no default.
        default: as plain data; a mapping for a key with keys of its own, the name of a component.
        description: as in the schema.
        on_resume: what another value does to a run that is resumed.
    """

    path: str
    type: str
    required: bool
    default: Any
    description: str
    on_resume: OnResume


@functools.cache
def keys() -> Mapping[str, Key]:
    """Returns all keys of the schema, nested ones included, by their dotted names; not the arguments of components."""
    return {path: _key(path, field) for path, field in _fields(Config, "")}


def all_paths() -> list[str]:
    """Returns the dotted names of all keys, with the arguments of all components."""
    found = []
    for path in keys():
        found.append(path)
        if path in COMPONENT_KEYS:
            arguments = {one.name for item in COMPONENT_KEYS[path].declarations() for one in item.parameters}
            found += [f"{path}.{name}" for name in sorted(arguments)]
    return found


def path_hint(word: str) -> str:
    """Returns a hint for a word that is no key: the keys that it may stand for."""
    for plural, registry in REGISTRIES.items():
        if word in registry.names():
            return f"`tfloop list {plural} {word}` describes this {registry.kind}"
    known = all_paths()
    head, dot, last = word.rpartition(".")
    meant = SYNONYMS.get(word) or f"{head}{dot}{SYNONYMS.get(last, last)}"
    ending = [path for path in known if path == meant or path.endswith(f".{meant}")]
    beginning = [path for path in known if path.startswith(meant)]
    if found := ending or beginning or difflib.get_close_matches(meant, known, n=3):
        return f"did you mean {' or '.join(f'`{path}`' for path in found[:3])}?"
    return "`tfloop config show mnist` lists the keys, and `tfloop explain 3` explains an exit code"


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field
        for nested in (field.annotation, *get_args(field.annotation)):
            if isinstance(nested, type) and issubclass(nested, BaseModel):
                yield from _fields(nested, f"{prefix}{name}.")


def _key(path: str, field: FieldInfo) -> Key:
    kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    required = field.default is PydanticUndefined
    default = None if required else _plain(field.default)
    return Key(path, describe(kind), required, default, field.description or "", policies()[path])


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value.name if isinstance(value, Component) else list(value) if isinstance(value, tuple) else value
