"""`tfloop config show | check | schema`: prints, validates and describes configs."""

import json
import warnings
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import PydanticJsonSchemaWarning

from tfloop_cli.config.loading import Resolved, dump, to_mapping
from tfloop_cli.config.schema import Config
from tfloop_cli.config.suggestions import COMPONENT_KEYS, LISTS
from tfloop_cli.config.warnings import config_warnings
from tfloop_cli.config.yaml_scalars import write
from tfloop_cli.registry import Component, Registry, datasets
from tfloop_cli.registry.declarations import Declaration


def show(resolved: Resolved, sources: bool = False) -> str:
    """Returns the resolved config as YAML; loading it gives the same config.

    Args:
        resolved: the config.
        sources: whether to return one line per value instead, with its source in a comment.
    """
    if not sources:
        return dump(resolved.config).rstrip("\n")
    values = [(path, write(_at(to_mapping(resolved.config), path))) for path in resolved.sources]
    width = min(48, max(len(path) + len(text) + 2 for path, text in values))
    return "\n".join(f"{f'{path}: {text}':<{width}}  # {resolved.sources[path]}" for path, text in values)


def check(resolved: Resolved) -> dict[str, Any]:
    """Returns the JSON document of a valid config, with its warnings; loading it was the validation."""
    config = resolved.config
    names = {key: getattr(config, key).name for key in ("dataset", "model", "task")}
    return {"event": "check", **names, "epochs": config.epochs, "warnings": list(config_warnings(config))}


def schema(draft: str = "2020-12") -> str:
    """Returns a JSON Schema of config files, for editors.

    Args:
        draft: "2020-12" or "07".
    """
    mapping = schema_mapping()
    return json.dumps(_draft_07(mapping) if draft == "07" else mapping, indent=2)


def schema_mapping() -> dict[str, Any]:
    """Returns the schema as data: every key, and the arguments of every component."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)  # of the components' defaults, which are added below
        made = Config.model_json_schema()
    for key, registry in COMPONENT_KEYS.items():
        about = {"description": made["properties"][key]["description"]}
        default = Config.model_fields[key].default
        if key in LISTS:
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
        "description": "The config that this one extends: a path or the name of a built-in config.",
    }
    del made["required"]
    made["anyOf"] = [{"required": ["dataset", "model"]}, {"required": ["extends"]}]
    about = {"title": "tfloop config", "description": "A config file of `tfloop train --config FILE`."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_untitled(made), **about}


def _component_schema(registry: Registry, default: str | None) -> dict[str, Any]:
    """Returns the schema of a component: a name or a mapping. The mapping of `default` may omit `name`."""
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
        if one.description:
            properties[one.name]["description"] = one.description
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
    """Removes pydantic's titles, which only repeat the keys."""
    if isinstance(made, list):
        return [_untitled(one) for one in made]
    if not isinstance(made, dict):
        return made
    return {key: _untitled(one) for key, one in made.items() if key != "title" or not isinstance(one, str)}


def _draft_07(schema: Any) -> Any:
    """Converts a schema from draft 2020-12 to draft-07, which SchemaStore and some editors require."""
    if isinstance(schema, list):
        return [_draft_07(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {key: _draft_07(value) for key, value in schema.items()}
    if "$schema" in converted:
        converted["$schema"] = "http://json-schema.org/draft-07/schema#"
    if "$defs" in converted:
        converted["definitions"] = converted.pop("$defs")
    if isinstance(reference := converted.get("$ref"), str):
        reference = reference.replace("#/$defs/", "#/definitions/")
        others = {key: value for key, value in converted.items() if key != "$ref"}
        # Draft-07 ignores what is next to `$ref`.
        return {**others, "allOf": [{"$ref": reference}]} if others else {"$ref": reference}
    if isinstance(converted.get("prefixItems"), list):
        converted["items"] = converted.pop("prefixItems")
        converted["additionalItems"] = False
    return converted


def _at(mapping: Any, path: str) -> Any:
    for step in path.split("."):
        mapping = mapping[step]
    return mapping
