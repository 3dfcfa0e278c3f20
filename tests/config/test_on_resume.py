"""Every key declares what another value does to a resumed run; differences between two configs are found key by key."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from tfloop_cli.config import on_resume
from tfloop_cli.config.loading import from_mapping, to_mapping
from tfloop_cli.config.on_resume import argument_policy, differences, policies
from tfloop_cli.config.suggestions import COMPONENT_KEYS
from tfloop_cli.registry.argument_types import OnResume
from tfloop_cli.registry.declarations import Parameter

FREE, CHANGES_REST, REFUSED = OnResume.FREE, OnResume.CHANGES_REST, OnResume.REFUSED
BASE: dict[str, Any] = {"dataset": {"name": "images", "path": "/a"}, "model": {"name": "mlp", "dropout": 0.1}}


def found(before: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, Any, Any, OnResume]]:
    first, second = (to_mapping(from_mapping(BASE | changes, "a test")) for changes in (before, now))
    return [(one.key, one.before, one.now, one.policy) for one in differences(first, second)]


def test_every_key_has_a_policy() -> None:
    assert {"epochs", "checkpoint", "checkpoint.best.metric", "early_stopping.patience_epochs"} <= policies().keys()
    assert policies()["checkpoint.keep"] is FREE  # that of `checkpoint`


def test_key_without_a_policy_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Config(BaseModel):
        known: Annotated[int, FREE] = 1
        forgotten: int = 1

    monkeypatch.setattr(on_resume, "Config", Config)
    with pytest.raises(LookupError, match="the key `forgotten` declares no policy"):
        policies.__wrapped__()


def test_every_argument_of_every_component_has_a_policy() -> None:
    arguments = [
        (key, one)
        for key, registry in COMPONENT_KEYS.items()
        for declaration in registry.declarations()
        for one in declaration.parameters
    ]
    assert len(arguments) > 50
    for key, one in arguments:
        assert isinstance(argument_policy(key, one), OnResume)
        if key == "optimizer":  # a divergence says "lower `optimizer.learning_rate`"
            assert argument_policy(key, one) is (
                CHANGES_REST if one.name in ("learning_rate", "weight_decay") else REFUSED
            )
        if one.name == "in_memory":
            assert argument_policy(key, one) is FREE


def test_annotation_of_an_argument_declares_its_policy() -> None:
    for annotation in (Annotated[int, FREE], Annotated[int, FREE] | None):
        assert argument_policy("model", Parameter("mine", annotation, required=True)) is FREE
    assert argument_policy("model", Parameter("mine", int, required=True)) is REFUSED


def test_path_of_any_dataset_may_change_since_data_can_be_moved() -> None:
    for annotation in (Path, Path | None, list[Path], Annotated[Path, "the file"]):
        assert argument_policy("dataset", Parameter("mine", annotation, required=True)) is CHANGES_REST
    assert argument_policy("dataset", Parameter("mine", Annotated[Path, REFUSED], required=True)) is REFUSED
    assert argument_policy("model", Parameter("mine", Path, required=True)) is REFUSED


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({}, {}, []),
        ({}, {"epochs": 9}, [("epochs", 5, 9, FREE)]),
        ({}, {"batch_size": 9, "seed": 1}, [("batch_size", 128, 9, REFUSED), ("seed", 0, 1, REFUSED)]),
        ({}, {"optimizer": {"learning_rate": 0.5}}, [("optimizer.learning_rate", 0.001, 0.5, CHANGES_REST)]),
        ({}, {"optimizer": {"beta_1": 0.5}}, [("optimizer.beta_1", 0.9, 0.5, REFUSED)]),
        ({}, {"model": {"name": "mlp"}}, [("model.dropout", 0.1, 0.0, REFUSED)]),
        ({}, {"dataset": {"name": "images", "path": "/b"}}, [("dataset.path", "/a", "/b", CHANGES_REST)]),
        (
            {},
            {"dataset": {"name": "images", "path": "/a", "in_memory": "never"}},
            [("dataset.in_memory", "auto", "never", FREE)],
        ),
        (
            {"task": "classification"},
            {"task": {"name": "classification", "label_smoothing": 0.1}},
            [("task.label_smoothing", 0.0, 0.1, REFUSED)],
        ),
        ({}, {"model": "linear"}, [("model", {"name": "mlp", "hidden": [128], "dropout": 0.1, "activation": "relu"},
                                    {"name": "linear"}, REFUSED)]),
        ({"schedule": "cosine"}, {"schedule": {"name": "cosine", "alpha": 0.1}},
         [("schedule.alpha", 0.0, 0.1, CHANGES_REST)]),
        ({}, {"augment": ["flip"]}, [("augment", [], [{"name": "flip"}], CHANGES_REST)]),
        (
            {},
            {"checkpoint": {"keep": 3, "best": {"metric": "loss"}}},
            [("checkpoint.keep", 1, 3, FREE), ("checkpoint.best.metric", None, "loss", CHANGES_REST)],
        ),
        ({}, {"checkpoint": {"best": None}}, [("checkpoint.best", {"metric": None, "mode": None}, None, CHANGES_REST)]),
        ({"early_stopping": {}}, {"early_stopping": {"metric": "loss", "patience_epochs": 1}},
         [("early_stopping.metric", None, "loss", CHANGES_REST), ("early_stopping.patience_epochs", 5, 1, FREE)]),
        ({}, {"precision": "bfloat16"}, [("precision", "float32", "bfloat16", CHANGES_REST)]),
        ({}, {"precision": "float64"}, [("precision", "float32", "float64", REFUSED)]),
    ],
)  # fmt: skip
def test_differences_name_keys_with_values_and_policy(before: dict, now: dict, expected: list) -> None:
    assert found(before, now) == expected
