"""Which keys of a run's config differ from the defaults."""

from collections.abc import Mapping
from typing import Any

from tfloop_cli.config.loading import default_values
from tfloop_cli.config.suggestions import COMPONENT_KEYS
from tfloop_cli.errors import TfloopError
from tfloop_cli.files import json_text
from tfloop_cli.runs.comparison import flat


def changed_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns dotted key -> value of the keys that are required, or whose value is not the default.

    The defaults of a component are those of this version. A component that is not registered here, such as one of user
    code, has none: all of its arguments are returned.
    """
    defaults = flat(_with_arguments(default_values(), config))
    return {
        key: value
        for key, value in flat(config).items()
        if key not in defaults or json_text(defaults[key]) != json_text(value)
    }


def _with_arguments(defaults: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the defaults with those of the components that the config names."""
    found = dict(defaults)
    for key, registry in COMPONENT_KEYS.items():
        chosen = config.get(key)
        if not isinstance(chosen, Mapping) or not isinstance(chosen.get("name"), str):
            continue
        arguments: dict[str, Any] = {}
        try:
            arguments = registry.declaration(chosen["name"], chosen).defaults()
        except TfloopError:  # of user code that is not loaded
            pass
        name = {"name": defaults[key]} if isinstance(defaults.get(key), str) else {}
        found[key] = name | arguments
    return found
