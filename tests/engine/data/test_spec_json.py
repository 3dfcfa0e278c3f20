"""A spec survives JSON: a run is used without its data."""

import json

import pytest

from tfloop_cli import DataSpec, InputSpec, TargetSpec
from tfloop_cli.engine.data.encoders import Column
from tfloop_cli.engine.data.spec_json import spec_from_json, spec_to_json

SPECS = [
    DataSpec((28, 28, 1), "uint8", (), ("cat", "dog")),
    DataSpec((None,), "int32", (2,), vocabulary=20),
    DataSpec(
        (3,), "float32", (), (), columns=(Column("age", "number", 0, 1, 0, (0.5, 2.0)), Column("city", "id", 1, 2, 40))
    ),
    DataSpec.of(
        {"shape": InputSpec((2,), "float32"), "b": InputSpec((None, 4), "int64")}, TargetSpec((3,), ("a",), True)
    ),
    DataSpec.of(
        (InputSpec((2,), "float32"), InputSpec((), "bool")), {"x": TargetSpec((1,)), "y": TargetSpec((), ("a", "b"))}
    ),
]


@pytest.mark.parametrize("spec", SPECS)
def test_spec_is_the_same_after_json(spec: DataSpec) -> None:
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec


def test_damaged_spec_is_refused() -> None:
    with pytest.raises((KeyError, TypeError, AttributeError, ValueError)):
        spec_from_json({"inputs": {"shape": [3]}, "targets": {}, "vocabulary": 0, "columns": []})
