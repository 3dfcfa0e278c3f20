"""The rows in a JSON document, in each form that people write tables in."""

from collections.abc import Mapping, Sequence
from typing import Any

Objects = Sequence[Mapping[str, Any]]


def objects_of(document: Any) -> Objects | None:
    """Returns the rows of a document as objects, name of a column -> value; None if there are none.

    [{"age": 31, ...}, ...]                                an array of objects
    {"data": [{"age": 31, ...}, ...], ...}                 the only array of objects in an object, whatever its key
    {"type": "FeatureCollection", "features": [...]}       GeoJSON: the properties of the features
    {"columns": ["age", ...], "data": [[31, ...], ...]}    pandas, orient="split"; "index" is not used
    {"age": [31, ...], ...}                                columns of equal length
    {"age": {"0": 31, ...}, ...}                           pandas by default: columns by the names of the rows
    """
    if isinstance(document, list):
        return document if document and all(isinstance(one, dict) for one in document) else None
    if not isinstance(document, dict):
        return None
    for form in (_split, _features, _records, _columns, _named_columns):
        if found := form(document):
            return found
    return None


def _split(document: Mapping[str, Any]) -> Objects | None:
    names, rows = document.get("columns"), document.get("data")
    if not isinstance(names, list) or not isinstance(rows, list) or not names:
        return None
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        return None
    return [dict(zip(map(str, names), row, strict=True)) for row in rows]


def _features(document: Mapping[str, Any]) -> Objects | None:
    features = document.get("features") if document.get("type") == "FeatureCollection" else None
    if not isinstance(features, list):
        return None
    found = []
    for feature in features:
        geometry = feature.get("geometry") or {}
        place = geometry.get("coordinates") if geometry.get("type") == "Point" else None
        point = dict(zip(("longitude", "latitude"), place, strict=False)) if place else {}
        found.append(point | (feature.get("properties") or {}))
    return found


def _records(document: Mapping[str, Any]) -> Objects | None:
    lists = [one for one in document.values() if isinstance(one, list) and one and isinstance(one[0], dict)]
    return objects_of(lists[0]) if len(lists) == 1 else None


def _columns(document: Mapping[str, Any]) -> Objects | None:
    values = list(document.values())
    if not all(isinstance(one, list) for one in values) or len({len(one) for one in values}) != 1:
        return None
    return [dict(zip(document, row, strict=True)) for row in zip(*values, strict=True)]


def _named_columns(document: Mapping[str, Any]) -> Objects | None:
    """Returns the rows of columns, or of rows, by names: columns have equal keys that are no names of columns."""
    inner = list(document.values())
    if len(inner) < 1 or not all(isinstance(one, dict) for one in inner) or not inner[0]:
        return None
    if all(key.isdecimal() for key in document) and not all(key.isdecimal() for key in inner[0]):
        return inner  # pandas, orient="index"
    if not all(one.keys() == inner[0].keys() for one in inner):
        return None
    return [{name: column[key] for name, column in document.items()} for key in inner[0]]
