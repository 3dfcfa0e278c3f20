"""The schema: what each key takes, in types and in words."""

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


def make(**keys: Any) -> Config:
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
def test_takes(key: str, value: Any) -> None:
    taken = getattr(make(**{key: value}), key)
    assert taken == value or taken.keep == 3


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
def test_refuses(key: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        make(**{key: value})


def test_is_frozen() -> None:
    with pytest.raises(ValidationError):
        make().epochs = 3


def test_a_string_is_short_for_a_component() -> None:
    config = Config.model_validate({"dataset": "mnist", "model": {"name": "mlp", "hidden": [3]}})
    assert config.model == Component("mlp", {"hidden": [3]})
    assert config.dataset == Component("mnist")


def test_every_key_is_described() -> None:
    for key, field in Config.model_fields.items():
        assert field.description, key
        assert field.description.endswith("."), key


@pytest.mark.parametrize(
    ("annotation", "words"),
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
        (Annotated[str, Description("colour")], "colour"),
        (list[Annotated[int, Ge(3)] | None], "list of null or integer, at least 3"),
    ],
)
def test_words(annotation: Any, words: str) -> None:
    assert describe(annotation) == words


def test_words_with_an_article() -> None:
    assert [
        with_article(one) for one in ("integer, at least 1", "list of text", "text", "`a` or `b`", "null or number")
    ] == [
        "an integer, at least 1",
        "a list of text",
        "text",
        "`a` or `b`",
        "null or number",
    ]


def test_schema_knows_every_key_and_component() -> None:
    schema = json.loads(command.schema())
    assert schema["$schema"].endswith("2020-12/schema")
    assert set(schema["properties"]) == {*Config.model_fields, "extends"}
    assert schema["additionalProperties"] is False
    names, *mappings = schema["properties"]["optimizer"]["oneOf"]
    assert "adam" in names["enum"]
    adam = next(one for one in mappings if one["properties"]["name"] == {"const": "adam"})
    assert adam["properties"]["learning_rate"] == {"type": "number", "minimum": 0, "default": 0.001}
    assert adam["required"] == []  # a mapping without a name merges into the default optimizer
    piecewise = next(
        one for one in schema["properties"]["schedule"]["oneOf"] if "boundaries_steps" in one.get("properties", {})
    )
    assert piecewise["required"] == ["name", "boundaries_steps", "factors"]
    assert schema["properties"]["epochs"]["description"]


def test_show_and_check() -> None:
    resolved = load(["mnist"], sets=["seed=3"])
    assert load(["-"], stdin=__import__("io").StringIO(command.show(resolved))).config == resolved.config
    lines = command.show(resolved, sources=True).splitlines()
    assert any(line.startswith("seed: 3 ") and line.endswith("# --set seed=3") for line in lines)
    assert any(line.startswith("epochs: 5 ") and "# mnist.yaml:" in line for line in lines)
    assert any(line.startswith("optimizer.beta_1: 0.9 ") and line.endswith("# default") for line in lines)
    assert command.check(resolved).startswith("ok")


@pytest.mark.parametrize("kind", list_command.KINDS)
def test_lists(kind: str) -> None:
    text, documents = list_command.list_components(kind), json.loads(list_command.list_components(kind, as_json=True))
    assert max(len(line) for line in text.splitlines()) <= 80
    for one in documents:
        assert one["name"] in text
        assert one["summary"]
        assert all(argument["name"] in text for argument in one.get("arguments", []))


def test_list_of_nothing() -> None:
    assert list_command.list_components("model") == list_command.list_components("models")
    with pytest.raises(TfloopError, match="did you mean `models`"):
        list_command.list_components("modles")
