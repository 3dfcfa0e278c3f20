"""`tfloop config schema`: both drafts are valid schemas, and accept and reject the same configs as tfloop."""

import json
from typing import Any

import jsonschema
import pytest

from tfloop_cli.commands.config import schema
from tfloop_cli.config.loading import load, to_mapping
from tfloop_cli.config.precedence import shipped_folder, shipped_names
from tfloop_cli.config.suggestions import COMPONENT_KEYS, LISTS
from tfloop_cli.config.yaml_positions import Source, parse
from tfloop_cli.registry.declarations import Declaration

GOOD: dict[str, Any] = {"dataset": "mnist", "model": "mlp"}
DRAFTS = {"2020-12": jsonschema.Draft202012Validator, "07": jsonschema.Draft7Validator}


@pytest.fixture(params=DRAFTS, scope="module")
def validator(request: pytest.FixtureRequest) -> Any:
    """A validator for the schema in each draft."""
    return DRAFTS[request.param](json.loads(schema(request.param)))


def test_schema_is_valid_by_its_meta_schema(validator: Any) -> None:
    assert validator.schema["$schema"] == validator.META_SCHEMA["$schema"]
    validator.check_schema(validator.schema)


def test_draft_07_has_no_keywords_of_later_drafts() -> None:
    text = schema("07")
    assert not [keyword for keyword in ("$defs", "prefixItems", "$dynamicRef", "unevaluated") if keyword in text]


@pytest.mark.parametrize("name", shipped_names())
def test_schema_accepts_built_in_config(validator: Any, name: str) -> None:
    validator.validate(parse((shipped_folder() / f"{name}.yaml").read_bytes(), Source(name), []).plain())
    validator.validate(to_mapping(load([name]).config))


def required_arguments(declaration: Declaration) -> dict[str, Any]:
    """Returns values for the required arguments of a component: lists, or text where text is allowed."""
    return {
        one.name: [1] if one.type_description.startswith("list") else "x"
        for one in declaration.parameters
        if one.required
    }


COMPONENTS = [
    pytest.param(key, declaration, id=f"{key}-{declaration.name}")
    for key, registry in COMPONENT_KEYS.items()
    for declaration in registry.declarations()
]


@pytest.mark.parametrize(("key", "declaration"), COMPONENTS)
def test_schema_accepts_component_as_name_and_as_mapping(validator: Any, key: str, declaration: Declaration) -> None:
    mapping = {"name": declaration.name, **declaration.defaults(), **required_arguments(declaration)}
    for value in (declaration.name, mapping):
        validator.validate(GOOD | {key: [value] if key in LISTS else value})
    wrong = mapping | {"unknown_argument": 1}
    assert not validator.is_valid(GOOD | {key: [wrong] if key in LISTS else wrong})


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "cifar10"},
        {"dataset": {"name": "cifar10", "data_dir": "/data"}},
        {"optimizer": {"learning_rate": 0.1}},  # merges into the default
        {"early_stopping": None},
        {"early_stopping": {"patience_epochs": 3}},
        {"validation": 0.25},
    ],
)
def test_schema_accepts_valid_values(validator: Any, changes: dict[str, Any]) -> None:
    validator.validate(GOOD | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": 3},
        {"epochs": 0},
        {"epochs": "3"},
        {"device": "tpu"},
        {"model": "nonexistent"},
        {"model": {"filters": [3]}},
        {"dataset": {"name": "cifar10", "builder": "mnist"}},
        {"optimizer": {"learning_rate": -1}},
        {"optimizer": {"lr": 0.1}},
        {"checkpoint": {"kep": 3}},
        {"augment": "flip"},
    ],
)
def test_schema_rejects_invalid_values(validator: Any, changes: dict[str, Any]) -> None:
    assert validator.is_valid(GOOD)
    assert not validator.is_valid(GOOD | changes)


def test_schema_requires_dataset_and_model_unless_config_extends_another(validator: Any) -> None:
    assert not validator.is_valid({"dataset": "mnist"})
    validator.validate({"extends": "mnist"})


@pytest.mark.parametrize(("key", "declaration"), COMPONENTS)
def test_schema_has_descriptions_of_components_and_arguments(
    validator: Any, key: str, declaration: Declaration
) -> None:
    component = validator.schema["properties"][key]
    choices = (component["items"] if key in LISTS else component)["oneOf"]
    (mapping,) = (one for one in choices if one.get("properties", {}).get("name") == {"const": declaration.name})
    assert mapping["description"] == declaration.summary
    descriptions = {name: one.get("description", "") for name, one in mapping["properties"].items() if name != "name"}
    assert descriptions == {one.name: one.description for one in declaration.parameters}


def test_components_of_tfloop_describe_each_argument() -> None:
    undocumented = [
        f"{key} {declaration.name}: {one.name}"
        for key, registry in COMPONENT_KEYS.items()
        if key != "optimizer"  # Keras does not document all arguments
        for declaration in registry.declarations()
        for one in declaration.parameters
        if not one.description
    ]
    assert undocumented == []
