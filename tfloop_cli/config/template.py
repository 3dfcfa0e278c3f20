"""Writes a config as a YAML file for people: what was set, with a comment on each key, and what is often changed."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from tfloop_cli.config.keys import keys
from tfloop_cli.config.loading import Resolved, entry, to_mapping
from tfloop_cli.config.suggestions import COMPONENT_KEYS
from tfloop_cli.config.validation import DEFAULTS
from tfloop_cli.registry.docstrings import first_sentence

OFTEN_CHANGED = (
    "test", "validation", "epochs", "max_steps", "batch_size", "optimizer", "schedule", "warmup_steps", "augment",
    "clip_norm", "ema_decay", "early_stopping", "precision", "device", "seed", "name",
)  # fmt: skip
_SUGGESTED = {"early_stopping": {"patience_epochs": 5}}  # in place of a default that is null
_WIDTH = 100


def template(resolved: Resolved, head: Sequence[str]) -> str:
    """Returns a config file whose config is that of `resolved`; keys with their defaults are comments.

    Args:
        resolved: a config, whose sources decide what was set.
        head: the comment at the top, one item per line.
    """
    given, whole = _given(resolved), to_mapping(resolved.config)
    lines = [f"# {line}".rstrip() for line in head]
    for key in (key for key in whole if key in given):
        lines += ["", *_about(key, whole), *entry(key, given[key])]
    lines += ["", "# Other keys that are often changed, with their defaults. Without `#`, a line takes effect."]
    for key in (key for key in OFTEN_CHANGED if key not in given):
        value = _SUGGESTED.get(key) or keys()[key].default
        lines += ["", *_about(key, whole), *(f"#{line}" for line in entry(key, value))]
    return "\n".join(lines) + "\n"


def _given(resolved: Resolved) -> dict[str, Any]:
    """Returns the part of a config that was set: not by default."""
    whole, given = to_mapping(resolved.config), dict[str, Any]()
    for path, source in resolved.sources.items():
        if source == DEFAULTS.label:
            continue
        *parents, last = path.split(".")
        value, part = whole, given
        for step in parents:
            value, part = value[step], part.setdefault(step, {})
        part[last] = value[last]
    for key in COMPONENT_KEYS:
        if key in given:
            given[key] = _short(key, given[key])
    return given


def _short(key: str, value: Any) -> Any:
    """Returns a component as people write it: in the order of its arguments, and as its name if it has none.

    The arguments of a component in a list have no source; those with their defaults are omitted.
    """
    if not isinstance(value, Mapping):
        return [_short(key, _without_defaults(key, one)) for one in value]
    order = [one.name for one in COMPONENT_KEYS[key].declaration(value["name"], value).parameters]
    arguments = {name: value[name] for name in order if name in value}
    return {"name": value["name"], **arguments} if arguments else value["name"]


def _without_defaults(key: str, component: Mapping[str, Any]) -> dict[str, Any]:
    defaults = COMPONENT_KEYS[key].declaration(component["name"], component).defaults()
    return {name: one for name, one in component.items() if name not in defaults or one != defaults[name]}


def _about(key: str, whole: Mapping[str, Any]) -> list[str]:
    """Returns the comment on a key: the first sentence of its description, and that of the component."""
    text = first_sentence(keys()[key].description)
    if key in COMPONENT_KEYS and isinstance(whole[key], Mapping):
        name = whole[key]["name"]
        summary = first_sentence(COMPONENT_KEYS[key].declaration(name, whole[key]).doc)
        text = f"{text} {name}: {summary}" if summary else text
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False
    )
