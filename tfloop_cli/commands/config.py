"""`tfloop config show | check | schema`: texts about a config; nothing here trains."""

import json
import warnings
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import PydanticJsonSchemaWarning

from tfloop_cli.checks import COMPONENTS
from tfloop_cli.config import Config
from tfloop_cli.configfile import Resolved, dump, to_mapping
from tfloop_cli.declarations import Declaration
from tfloop_cli.registry import Component, Registry, datasets
from tfloop_cli.yamltext import write


def show(resolved: Resolved, sources: bool = False) -> str:
    """The resolved config as YAML, which loads again to the same config.

    Args:
        sources: instead a line for every value, with where it came from in a comment.
    """
    if not sources:
        return dump(resolved.config).rstrip("\n")
    values = [(path, write(_at(to_mapping(resolved.config), path))) for path in resolved.sources]
    width = min(48, max(len(path) + len(text) + 2 for path, text in values))
    return "\n".join(f"{f'{path}: {text}':<{width}}  # {resolved.sources[path]}" for path, text in values)


def check(resolved: Resolved) -> str:
    """What to say of a config that loaded, which is the whole check."""
    config = resolved.config
    return f"ok: {config.model.name} on {config.dataset.name}, {config.epochs} epochs"


def schema() -> str:
    """JSON Schema (draft 2020-12) of a config file, for editors."""
    return json.dumps(schema_mapping(), indent=2)


def schema_mapping() -> dict[str, Any]:
    """The schema as data: every key, and the arguments of every component."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)  # components' defaults are put in below
        made = Config.model_json_schema()
    for key, registry in COMPONENTS.items():
        about = {"description": made["properties"][key]["description"]}
        default = Config.model_fields[key].default
        if key == "augment":
            made["properties"][key] = {
                **about,
                "type": "array",
                "items": _component_schema(registry, None),
                "default": [],
            }
        elif isinstance(default, Component):
            made["properties"][key] = {**about, **_component_schema(registry, default.name), "default": default.name}
        else:
            made["properties"][key] = {**about, **_component_schema(registry, None)}
    made["properties"]["extends"] = {
        "type": "string",
        "description": "A config that this one changes: a path or a shipped name.",
    }
    del made["required"]
    made["anyOf"] = [{"required": ["dataset", "model"]}, {"required": ["extends"]}]
    about = {"title": "tfloop config", "description": "What `tfloop train --config FILE` reads."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_untitled(made), **about}


def _component_schema(registry: Registry, default: str | None) -> dict[str, Any]:
    """One of the names, or one of the mappings; `default` may leave its name out, since it merges into the default."""
    found = registry.declarations()
    mappings = [_mapping_schema(one, {"const": one.name}, named=one.name != default) for one in found]
    names: dict[str, Any] = {"enum": [one.name for one in found]}
    if registry is datasets:
        names = {"type": "string"}  # any TFDS name
        other = {"type": "string", "not": {"enum": [one.name for one in found]}}
        for tfds in (one for one in found if one.name == "tfds"):
            mappings.append(_mapping_schema(tfds, other, named=True, without="builder"))
    return {"oneOf": [names, *mappings]}


def _mapping_schema(declaration: Declaration, name: dict[str, Any], named: bool, without: str = "") -> dict[str, Any]:
    properties: dict[str, Any] = {"name": name}
    required = ["name"] if named else []
    for one in declaration.parameters:
        if one.name == without:
            continue
        properties[one.name] = TypeAdapter(one.annotation).json_schema()
        if one.required:
            required.append(one.name)
        else:
            properties[one.name]["default"] = one.default
    return {
        "type": "object",
        "description": declaration.summary,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _untitled(made: Any) -> Any:
    """Without pydantic's titles, which only repeat each key."""
    if isinstance(made, list):
        return [_untitled(one) for one in made]
    if not isinstance(made, dict):
        return made
    return {key: _untitled(one) for key, one in made.items() if key != "title" or not isinstance(one, str)}


def _at(mapping: Any, path: str) -> Any:
    for step in path.split("."):
        mapping = mapping[step]
    return mapping
