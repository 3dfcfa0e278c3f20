"""Warnings about settings of a valid config that have no effect."""

from typing import Any

import pytest

from tfloop_cli.config.loading import from_mapping, load
from tfloop_cli.config.precedence import shipped_names
from tfloop_cli.config.warnings import config_warnings

METRIC = {"checkpoint": {"best": {"metric": "loss"}}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"validation": 0}, []),
        ({"early_stopping": {"patience_epochs": 3}}, []),
        ({"validation": 0, "early_stopping": {}}, ["`early_stopping` has no effect: there is no validation split"]),
        (METRIC, []),
        (METRIC | {"validation": 0}, ["`checkpoint.best.metric: loss` has no effect: there is no validation split"]),
        ({"early_stopping": {"patience_epochs": 4}}, ["`early_stopping.patience_epochs: 4` is too long to stop"]),
        ({"micro_batch_size": 128}, []),
        ({"micro_batch_size": 129}, ["`micro_batch_size: 129` has no effect: it is larger than `batch_size: 128`"]),
    ],
)
def test_settings_without_effect_are_named_once(changes: dict[str, Any], expected: list[str]) -> None:
    lines = config_warnings(from_mapping({"dataset": "mnist", "model": "linear", **changes}, "a test"))
    assert len(lines) == len(expected)
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True)), lines


@pytest.mark.parametrize("name", shipped_names())
def test_built_in_config_has_no_warnings(name: str) -> None:
    assert config_warnings(load([name]).config) == []
