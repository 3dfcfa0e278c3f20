"""Config files -> a resolved Config with the source of every value, and back.

Layers, weakest first: the defaults, `extends:`, config files from left to right, `--unset`, `--set`, its short forms.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TextIO

from tfloop_cli.checks import COMPONENTS, DEFAULTS, Check
from tfloop_cli.config import Config
from tfloop_cli.errors import TfloopError
from tfloop_cli.layers import Layers, merge, shipped_folder, shipped_names
from tfloop_cli.registry import Component
from tfloop_cli.yamltext import write
from tfloop_cli.yamltree import Node, Source, entries, plant

__all__ = ["Resolved", "dump", "from_mapping", "load", "shipped_folder", "shipped_names", "to_mapping"]

_LINE = 100  # dump breaks a mapping that would be longer than this


@dataclass(frozen=True)
class Resolved:
    """A config and how it came about.

    Attributes:
        config: checked, with every default in it.
        sources: dotted key -> "mnist.yaml:5", "--set epochs=3" or "default".
        notes: what the user should be told (which shipped config was taken).
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
    """Reads, merges and checks.

    Args:
        configs: paths, `-` for `stdin`, or names of shipped configs; later ones win.
        sets: `key=value` each, the key dotted, the value YAML.
        unsets: dotted keys to take away again from what the files say.
        flags: short forms, key -> value as typed: {"batch_size": "64"} for `--batch-size 64`.

    Raises:
        TfloopError: with every problem at once, each with its place; exit code 2.
    """
    reading = Layers(stdin)
    defaults = plant(_default_values(), DEFAULTS)
    root = defaults
    for layer in [reading.file(name, None, ()) for name in configs]:
        if layer is not None:
            root = merge(root, layer, ())
    for path in unsets:
        root = reading.unset(root, defaults, path)
    for label, text in _arguments(sets, flags or {}):
        if (layer := reading.argument(label, text)) is not None:
            root = merge(root, layer, ())
    if reading.broken:  # what could not be read would make every further complaint doubtful
        raise TfloopError(problems=reading.in_order([]))
    check = Check()
    config, filled = check.config(_root_place(root))
    if config is None or reading.problems:
        raise TfloopError(problems=reading.in_order(check.problems))
    return Resolved(config, {path: node.place() for path, node in entries(filled)}, tuple(reading.notes))


def from_mapping(mapping: Mapping[str, Any], source: str) -> Config:
    """Checks plain data, such as a checkpoint keeps; nothing is read from the environment.

    Args:
        source: what to call it in messages.

    Raises:
        TfloopError: with every problem at once.
    """
    check = Check()
    root = merge(plant(_default_values(), DEFAULTS), plant(mapping, Source(source, lines=False)), ())
    config, _ = check.config(root)
    if config is None:
        raise TfloopError(problems=check.problems)
    return config


def to_mapping(config: Config) -> dict[str, Any]:
    """Plain data that JSON can hold, and that `from_mapping` makes the same config of."""
    return config.model_dump(mode="json")


def dump(config: Config) -> str:
    """YAML with every default in it; loads again to the same config."""
    lines = []
    for key, value in to_mapping(config).items():
        line = f"{key}: {write(value)}"
        if len(line) <= _LINE or not isinstance(value, dict | list):
            lines.append(line)
        elif isinstance(value, dict):
            lines += [f"{key}:", *(f"  {write(inner)}: {write(one)}" for inner, one in value.items())]
        else:
            lines += [f"{key}:", *(f"  - {write(one)}" for one in value)]
    return "\n".join(lines) + "\n"


def _arguments(sets: Sequence[str], flags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(how it was typed, key=value); a short form is more exact than `--set`, so it comes last and wins."""
    yield from ((f"--set {text}", text) for text in sets)
    yield from ((f"--{key.replace('_', '-')} {value}", f"{key}={value}") for key, value in flags.items())


def _root_place(root: Node) -> Node:
    """With no file at all, a missing key is missing from `--config`."""
    return replace(root, source=Source("--config", lines=False)) if root.source is DEFAULTS else root


def _default_values() -> dict[str, Any]:
    """What a config that says nothing has; components by name alone: their arguments are the registries' matter."""
    blank = Config(dataset=Component("?"), model=Component("?")).model_dump(mode="json", exclude={"dataset", "model"})
    return {key: value["name"] if key in COMPONENTS and key != "augment" else value for key, value in blank.items()}
