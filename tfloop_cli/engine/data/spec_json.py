"""The shape of the data as JSON, so that a run can be used without its data."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tfloop_cli.engine.data.encoders import Column
from tfloop_cli.engine.data.spec import DataSpec, InputSpec, TargetSpec
from tfloop_cli.engine.data.structures import Structure, map_structure


def spec_to_json(spec: DataSpec) -> dict[str, Any]:
    """Returns a spec as an object of JSON."""
    return {
        "inputs": map_structure(asdict, spec.inputs),
        "targets": map_structure(asdict, spec.targets),
        "vocabulary": spec.vocabulary,
        "columns": [asdict(column) for column in spec.columns],
    }


def spec_from_json(document: Mapping[str, Any]) -> DataSpec:
    """Returns the argument of `spec_to_json`, also after its tuples have become lists.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: it is no such object.
    """
    spec = DataSpec.of(
        _structure(document["inputs"], _input), _structure(document["targets"], _target), document["vocabulary"]
    )
    columns = (Column(**{**column, "edges": tuple(column.get("edges", ()))}) for column in document["columns"])
    object.__setattr__(spec, "columns", tuple(columns))
    return spec


def _structure(value: Any, make: Any) -> Structure:
    """A single one is an object with `shape`; several are a list, or an object by name."""
    if isinstance(value, list | tuple):
        return tuple(map(make, value))
    if isinstance(value.get("shape"), list | tuple):
        return make(value)
    return {name: make(one) for name, one in value.items()}


def _input(value: Mapping[str, Any]) -> InputSpec:
    return InputSpec(tuple(value["shape"]), value["dtype"])


def _target(value: Mapping[str, Any]) -> TargetSpec:
    return TargetSpec(tuple(value["shape"]), tuple(value["class_names"]), value["one_hot"])
