"""The schema: accepted values, descriptions of types, JSON Schemas, and `tfloop config` and `tfloop list`."""

import io
import json
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge
from pydantic import Field, ValidationError

from tfloop_cli.commands import config as command
from tfloop_cli.commands import list as list_command
from tfloop_cli.config.loading import load
from tfloop_cli.config.schema import Config
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import Component
from tfloop_cli.registry.argument_types import (
    Description,
    Fraction,
    FractionBelowOne,
    PositiveFloat,
    PositiveInt,
    describe,
    with_article,
)


def make_config(**keys: Any) -> Config:
    return Config(dataset=Component("mnist"), model=Component("mlp"), **keys)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 1),
        ("validation", "auto"),
        ("validation", 0),
        ("validation", 5000),
        ("validation", 0.25),
        ("device", "gpu:3"),
        ("seed", 2**31 - 1),
        ("threads", "auto"),
        ("threads", 8),
        ("clip_norm", 1),
        ("ema_decay", 0.999),
        ("steps_per_execution", 100),
        ("name", "my-run_1.2"),
        ("checkpoint", {"keep": 3, "best": None}),
    ],
)
def test_valid_value_is_accepted(key: str, value: Any) -> None:
    accepted = getattr(make_config(**{key: value}), key)
    assert accepted == value or accepted.keep == 3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("epochs", True),
        ("epochs", 3.0),
        ("epochs", "3"),
        ("validation", -1),
        ("validation", 1.0),
        ("validation", 0.0),
        ("validation", True),
        ("validation", "none"),
        ("device", "gpu:"),
        ("device", "cpu\n"),
        ("seed", -1),
        ("seed", 2**31),
        ("threads", 0),
        ("clip_norm", 0),
        ("clip_norm", float("nan")),
        ("clip_norm", float("inf")),
        ("clip_norm", 10**400),
        ("ema_decay", 1),
        ("drop_remainder", 1),
        ("name", ".hidden"),
        ("name", "a/b"),
        ("name", ""),
        ("name", "-x"),
        ("runs_dir", ""),
        ("unknown", 1),
    ],
)
def test_invalid_value_is_rejected(key: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        make_config(**{key: value})


def test_config_is_frozen() -> None:
    with pytest.raises(ValidationError):
        make_config().epochs = 3


def test_string_is_a_component_without_arguments() -> None:
    config = Config.model_validate({"dataset": "mnist", "model": {"name": "mlp", "hidden": [3]}})
    assert config.model == Component("mlp", {"hidden": [3]})
    assert config.dataset == Component("mnist")


def test_each_key_has_a_description() -> None:
    for key, field in Config.model_fields.items():
        assert field.description, key
        assert field.description.endswith("."), key


@pytest.mark.parametrize(
    ("annotation", "description"),
    [
        (PositiveInt, "integer, at least 1"),
        (Fraction, "number from 0 to 1"),
        (FractionBelowOne, "number, at least 0, below 1"),
        (Annotated[int, Field(ge=2)], "integer, at least 2"),
        (PositiveFloat | None, "null or number, above 0"),
        (Literal["a", "b"], "`a` or `b`"),
        (Literal["auto"] | PositiveInt, "`auto` or integer, at least 1"),
        (list[PositiveInt], "list of integers, at least 1"),
        (list[list[int]], "list of lists of integers"),
        (list[bool], "list of true or false"),
        (list[str], "list of text"),
        (tuple[int, ...], "list of integers"),
        (tuple[int, str], "list of 2: integer; text"),
        (dict[str, FractionBelowOne], "mapping of text to numbers, at least 0, below 1"),
        (list, "list"),
        (dict, "mapping"),
        (Any, "anything"),
        (Annotated[str, Description("color")], "color"),
        (list[Annotated[int, Ge(3)] | None], "list of null or integer, at least 3"),
    ],
)
def test_type_descriptions(annotation: Any, description: str) -> None:
    assert describe(annotation) == description


def test_type_descriptions_with_article() -> None:
    assert [
        with_article(one)
        for one in ("integer, at least 1", "list of text", "text", "`a` or `b`", "null or number", "`a` or integer")
    ] == [
        "an integer, at least 1",
        "a list of text",
        "text",
        "`a` or `b`",
        "null or a number",
        "`a` or an integer",
    ]


def test_json_schema_contains_each_key_and_component() -> None:
    schema = json.loads(command.schema())
    assert schema["$schema"].endswith("2020-12/schema")
    assert set(schema["properties"]) == {*Config.model_fields, "extends"}
    assert schema["additionalProperties"] is False
    names, *mappings = schema["properties"]["optimizer"]["oneOf"]
    assert "adam" in names["enum"]
    adam = next(one for one in mappings if one["properties"]["name"] == {"const": "adam"})
    learning_rate = adam["properties"]["learning_rate"]
    assert "learning rate" in learning_rate.pop("description")
    assert learning_rate == {"type": "number", "minimum": 0, "default": 0.001}
    assert adam["required"] == []  # a mapping without a name merges into the default optimizer
    piecewise = next(
        one for one in schema["properties"]["schedule"]["oneOf"] if "boundaries_steps" in one.get("properties", {})
    )
    assert piecewise["required"] == ["name", "boundaries_steps", "factors"]
    assert schema["properties"]["epochs"]["description"]


def test_shown_config_loads_and_shows_sources() -> None:
    resolved = load(["mnist"], sets=["seed=3"])
    assert load(["-"], stdin=io.StringIO(command.show(resolved))).config == resolved.config
    lines = command.show(resolved, sources=True).splitlines()
    assert any(line.startswith("seed: 3 ") and line.endswith("# --set seed=3") for line in lines)
    assert any(line.startswith("epochs: 5 ") and "# mnist.yaml:" in line for line in lines)
    assert any(line.startswith("optimizer.beta_1: 0.9 ") and line.endswith("# default") for line in lines)
    checked = command.check(resolved)
    assert (checked["model"], checked["dataset"], checked["epochs"], checked["warnings"]) == (
        "conv_net",
        "mnist",
        5,
        [],
    )


@pytest.mark.parametrize("kind", list_command.KINDS)
def test_list_contains_each_component_and_argument(kind: str) -> None:
    document, text = list_command.list_components(kind)
    assert document["kind"] == kind
    assert max(len(line) for line in text.splitlines()) <= 80
    for one in document["components"]:
        assert one["name"] in text
        assert one["summary"]
        assert all(argument["name"] in text for argument in one.get("arguments", []))


def test_list_accepts_singular_and_suggests_nearest_kind() -> None:
    assert list_command.list_components("model") == list_command.list_components("models")
    with pytest.raises(TfloopError, match="did you mean `models`"):
        list_command.list_components("modles")


def test_list_shows_one_component_in_detail() -> None:
    listed, text = list_command.list_components("models", "conv_net")
    (document,) = listed["components"]
    assert text.startswith("conv_net\n  A CNN: convolutions, then one dense layer. By default a small one")
    assert set(document) == {"name", "summary", "source", "arguments"}
    assert document["source"] in text
    arguments = {one["name"]: one for one in document["arguments"]}
    assert arguments["filters"] == {
        "name": "filters",
        "type": "list of integers, at least 1",
        "required": False,
        "description": "number of filters of each convolution.",
        "default": [32],
    }
    assert (
        "  filters  list of integers, at least 1; default [32]\n      number of filters of each convolution.\n" in text
    )
    assert all(one["description"] for one in arguments.values())
    # The short form has the first sentence of a description, the detailed one has all sentences.
    assert "With pooling" in " ".join(text.split())
    assert "With pooling" not in " ".join(list_command.list_components("models")[1].split())


def test_list_shows_required_arguments_without_default() -> None:
    (document,) = list_command.list_components("schedules", "piecewise")[0]["components"]
    assert [(one["required"], "default" in one) for one in document["arguments"]] == [(True, False), (True, False)]
    text = list_command.list_components("schedules", "piecewise")[1]
    assert "factors  list of numbers, at least 0; required" in text


def test_list_shows_one_built_in_config() -> None:
    (document,) = list_command.list_components("configs", "mnist")[0]["components"]
    assert document["name"] == "mnist"
    assert "MNIST" in document["summary"]
    assert list_command.list_components("config", "mnist.yaml") == list_command.list_components("configs", "mnist")


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("models", "conv_nett", "did you mean `conv_net`?"),
        ("configs", "mnsit", "did you mean `mnist`?"),
        ("datasets", "mnits", "did you mean `mnist`"),
    ],
)
def test_list_suggests_nearest_component(kind: str, name: str, hint: str) -> None:
    with pytest.raises(TfloopError, match=f"unknown {kind.removesuffix('s')} `{name}`") as caught:
        list_command.list_components(kind, name)
    assert hint in str(caught.value)


def test_list_shows_descriptions_of_keras_arguments() -> None:
    arguments = list_command.list_components("optimizers", "adam")[0]["components"][0]["arguments"]
    descriptions = {one["name"]: one["description"] for one in arguments}
    assert "decay rate" in descriptions["beta_1"]
    assert "AMSGrad" in descriptions["amsgrad"]
    assert "callable" not in " ".join(descriptions.values())  # YAML cannot express one
