"""Loads config files into a resolved Config with the source of every value, and writes it back.

Precedence, lowest first: defaults, `extends:`, config files from left to right, `--unset`, `--set` and its shortcuts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TextIO

from tfloop_cli.config.precedence import LayerReader, merge, shipped_folder, shipped_names
from tfloop_cli.config.schema import Config
from tfloop_cli.config.suggestions import COMPONENT_KEYS, LISTS
from tfloop_cli.config.validation import DEFAULTS, Validator
from tfloop_cli.config.yaml_positions import Node, Source, entries, plant
from tfloop_cli.config.yaml_scalars import write
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import Component

__all__ = ["Resolved", "dump", "entry", "from_mapping", "load", "shipped_folder", "shipped_names", "to_mapping"]

_LINE_LENGTH = 100  # `entry` breaks a mapping that would be longer


@dataclass(frozen=True)
class Resolved:
    """A validated config and the source of each value.

    Attributes:
        config: validated, with all defaults filled in.
        sources: dotted key -> "mnist.yaml:5", "--set epochs=3" or "default".
        notes: messages for the user, such as which built-in config is used.
    """

    config: Config
    sources: Mapping[str, str]
    notes: tuple[str, ...] = ()


def load(
    configs: Sequence[str],
    *,
    sets: Sequence[str] = (),
    unsets: Sequence[str] = (),
    flags: Mapping[str, str] | None = None,
    stdin: TextIO | None = None,
) -> Resolved:
    """Reads, merges and validates a config.

    Args:
        configs: paths, `-` for `stdin`, or names of built-in configs; later ones take precedence.
        sets: `key=value` pairs; keys are dotted, values are YAML.
        unsets: dotted keys to remove from the files' values.
        flags: shortcuts for `--set`, key -> value as typed: {"batch_size": "64"} for `--batch-size 64`.
        stdin: what `-` reads.

    Raises:
        TfloopError: with all problems at once, each with its place (exit code 2).
    """
    reader = LayerReader(stdin)
    defaults = plant(default_values(), DEFAULTS)
    root = defaults
    for layer in [reader.file(name, None, ()) for name in configs]:
        if layer is not None:
            root = merge(root, layer, ())
    for path in unsets:
        root = reader.unset(root, defaults, path)
    root = _with_arguments(root, reader, sets, flags or {})
    if reader.incomplete:  # further problems could be consequences of what was not read
        raise TfloopError(problems=reader.in_order([]))
    validator = Validator()
    config, filled = validator.config(_with_root_place(root))
    if config is None or reader.problems:
        raise TfloopError(problems=reader.in_order(validator.problems))
    return Resolved(config, {path: node.place() for path, node in entries(filled)}, tuple(reader.notes))


def from_mapping(mapping: Mapping[str, Any], source: str, sets: Sequence[str] = ()) -> Config:
    """Validates plain data, such as the config in a checkpoint. The environment is not used.

    Args:
        mapping: as `to_mapping` returns it; defaults are filled in.
        source: the name of the source in messages.
        sets: see `load`.

    Raises:
        TfloopError: with all problems at once (exit code 2).
    """
    validator, reader = Validator(), LayerReader(None)
    root = merge(plant(default_values(), DEFAULTS), plant(mapping, Source(source, lines=False)), ())
    config, _ = validator.config(_with_arguments(root, reader, sets, {}))
    if config is None or reader.problems:
        raise TfloopError(problems=[*reader.problems, *validator.problems])
    return config


def to_mapping(config: Config) -> dict[str, Any]:
    """Returns plain data for JSON; `from_mapping` makes the same config from it."""
    return config.model_dump(mode="json")


def dump(config: Config) -> str:
    """Returns YAML with all defaults; loading it gives the same config."""
    return "\n".join(line for key, value in to_mapping(config).items() for line in entry(key, value)) + "\n"


def entry(key: str, value: Any) -> list[str]:
    """Returns the lines of YAML for one top-level key."""
    line = f"{key}: {write(value)}"
    if len(line) <= _LINE_LENGTH or not isinstance(value, dict | list):
        return [line]
    if isinstance(value, dict):
        return [f"{key}:", *(f"  {write(inner)}: {write(one)}" for inner, one in value.items())]
    return [f"{key}:", *(f"  - {write(one)}" for one in value)]


def _with_arguments(root: Node, reader: LayerReader, sets: Sequence[str], flags: Mapping[str, str]) -> Node:
    for label, text in _arguments(sets, flags):
        if (layer := reader.argument(label, text)) is not None:
            root = merge(root, layer, ())
    return root


def _arguments(sets: Sequence[str], flags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yields (as typed, key=value). A shortcut such as `--epochs` takes precedence over `--set`, so it comes last."""
    yield from ((f"--set {text}", text) for text in sets)
    yield from ((f"--{key.replace('_', '-')} {value}", f"{key}={value}") for key, value in flags.items())


def _with_root_place(root: Node) -> Node:
    """Without any file, a missing key is reported as missing from `--config`."""
    return replace(root, source=Source("--config", lines=False)) if root.source is DEFAULTS else root


def default_values() -> dict[str, Any]:
    """Returns the defaults of the schema, components by name only; the registries add their arguments."""
    empty = Config(dataset=Component("?"), model=Component("?")).model_dump(mode="json", exclude={"dataset", "model"})
    return {key: value["name"] if key in COMPONENT_KEYS and key not in LISTS else value for key, value in empty.items()}
