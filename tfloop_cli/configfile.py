"""Config files: where they are found, how layers merge, and where every value came from.

Layers, weakest first: the defaults, `extends:`, config files from left to right, `--unset`, `--set` and its short forms.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from tfloop_cli.checks import COMPONENTS, DEFAULTS, Check, nearest
from tfloop_cli.config import Config
from tfloop_cli.errors import Problem, TfloopError
from tfloop_cli.registry import Component
from tfloop_cli.yamltree import Node, Source, YamlError, entries, parse, plant, resolve, walk_text, write

MAX_EXTENDS = 10
_ENV = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_PACKAGE = Path(__file__).parent
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
    reading = _Reading(stdin)
    defaults = plant(_default_values(), DEFAULTS)
    root = defaults
    for layer in [reading.file(name, None, ()) for name in configs]:
        if layer is not None:
            root = _merge(root, layer, ())
    for path in unsets:
        root = reading.unset(root, defaults, path)
    for label, text in _arguments(sets, flags or {}):
        if (layer := reading.argument(label, text)) is not None:
            root = _merge(root, layer, ())
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
    root = _merge(plant(_default_values(), DEFAULTS), plant(mapping, Source(source, lines=False)), ())
    config, _ = check.config(root)
    if config is None:
        raise TfloopError(problems=check.problems)
    return config


def to_mapping(config: Config) -> dict[str, Any]:
    """Plain data that JSON can hold, and that `from_mapping` makes the same config of."""
    return {key: _plain(getattr(config, key)) for key in Config.model_fields}


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


def shipped_folder() -> Path:
    """The ready configs: inside an installed package, beside the package in a checkout or an editable install."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def shipped_names() -> list[str]:
    """`mnist` for mnist.yaml, sorted."""
    return sorted(path.stem for path in shipped_folder().glob("*.yaml"))


class _Reading:
    """Reads layers; collects problems and notes on the way."""

    def __init__(self, stdin: TextIO | None) -> None:
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.broken = False
        self._stdin = stdin
        self._order: dict[str, int] = {}

    def in_order(self, more: Sequence[Problem]) -> list[Problem]:
        """All problems, by file and line."""

        def key(problem: Problem) -> tuple[int, int, int]:
            return self._order.get(problem.file or "", -1), problem.line or 0, problem.column or 0

        return sorted([*self.problems, *more], key=key)

    def file(self, name: str, by: Node | None, chain: tuple[Path, ...]) -> Node | None:
        """A config file with what it extends below it; None if it could not be read.

        Args:
            by: the value of `extends` that named it; None for a file of the command line.
            chain: the files whose `extends` led here.
        """
        content, label, path = self._content(name, by, chain)
        if content is None:
            return None
        source = self._source(label)
        root = self._parse(content, source)
        if root is None:
            return None
        if not isinstance(root.value, dict):
            what = "the file is empty" if root.value is None else "a config is a mapping of keys to values"
            self._break(Problem(f"{what}; `tfloop config show -c mnist` shows one", label, root.line if root.value else None))
            return None
        rest = dict(root.value)
        extends = rest.pop("extends", None)
        root = replace(root, value=rest)
        if extends is None:
            return root
        if not isinstance(extends.value, str) or not extends.value:
            self._break(extends.problem("`extends` must be the path or name of one config file"))
            return None
        if len(chain) >= MAX_EXTENDS:
            self._break(extends.problem(f"more than {MAX_EXTENDS} files extend each other"))
            return None
        base = self.file(extends.value, extends, (*chain, path))
        return None if base is None else _merge(base, root, ())

    def argument(self, label: str, text: str) -> Node | None:
        """The layer that one `--set` makes: {"optimizer": {"learning_rate": 0.1}}."""
        key, equals, value = text.partition("=")
        source = self._source(label, lines=False)
        steps = key.strip().split(".")
        if not equals:
            return self._break(Problem(f"`{text}` is not KEY=VALUE", label, hint="as in `--set optimizer.learning_rate=0.01`"))
        if problem := _wrong_path(steps, label):
            return self._break(problem)
        node = self._parse(value.encode("utf-8", "surrogateescape"), source)
        if node is None:
            return None
        if node.value is None and not value.strip().startswith(("~", "n", "N", '"', "'")):
            return self._break(Problem(f"`{key}` is given no value", label, hint=f"`{key}=null` says that it has none"))
        for step in reversed(steps):
            node = Node({step: node}, source)
        return node

    def unset(self, root: Node, defaults: Node, path: str) -> Node:
        """Takes a key away; where it has a default, that comes back."""
        label = f"--unset {path}"
        steps = path.strip().split(".")
        if problem := _wrong_path(steps, label):
            self._break(problem)
            return root
        return self._without(root, defaults, steps, label, path)

    def _without(self, node: Node, default: Node | None, steps: Sequence[str], label: str, path: str) -> Node:
        known = node.value if isinstance(node.value, dict) else {}
        if steps[0] not in known:
            self.problems.append(Problem(f"there is no `{path}` to unset", label, hint=nearest(steps[0], known, "there are")))
            return node
        below = default.value.get(steps[0]) if default is not None and isinstance(default.value, dict) else None
        rest = {key: value for key, value in known.items() if key != steps[0]}
        if len(steps) > 1:
            rest[steps[0]] = self._without(_named(known[steps[0]]), below, steps[1:], label, path)
        elif below is not None:
            rest[steps[0]] = below
        return replace(node, value=rest)

    def _content(self, name: str, by: Node | None, chain: tuple[Path, ...]) -> tuple[bytes | None, str, Path]:
        if name == "-" and by is None:
            content = self._stdin.read().encode("utf-8", "surrogateescape") if self._stdin else b""
            return content, "<stdin>", Path("-")
        path = _find(name, chain[-1].parent if chain else None)
        label = str(path) if by else name
        problem: Problem | None = None
        if path is None:
            message, hint = f"there is no config `{name}`", nearest(Path(name).stem, shipped_names(), "shipped configs:")
            problem = by.problem(message, hint) if by else Problem(message, f"--config {name}", hint=hint)
        elif path in chain:
            names = " -> ".join(one.name for one in (*chain[chain.index(path) :], path))
            problem = by.problem(f"these files extend each other in a circle: {names}") if by else None
        else:
            if by is None and path.parent == shipped_folder() and not Path(name).exists():
                self.notes.append(f"config `{name}`: the shipped {path}")
                label = path.name
            try:
                return path.read_bytes(), label, path
            except OSError as error:
                message = f"cannot read the config: {error.strerror}"
                problem = by.problem(message) if by else Problem(message, name)
        self._break(problem)
        return None, label, Path(name)

    def _parse(self, content: bytes, source: Source) -> Node | None:
        try:
            return walk_text(parse(content, source, self.problems), self._substitute)
        except YamlError as error:
            return self._break(error.problem)

    def _substitute(self, node: Node) -> Node:
        """Replaces `${env:NAME}`; a value that is nothing else is read as YAML, so that a number may come from there."""
        text: str = node.value
        if "${env:" not in text:
            return node

        def lookup(match: re.Match[str]) -> str:
            name, default = match.groups()
            if name not in os.environ and default is None:
                hint = f"set it, or give a default: `${{env:{name}:-default}}`"
                self.problems.append(node.problem(f"the environment variable `{name}` is not set", hint))
            return os.environ.get(name, default or "")

        if _ENV.sub("", text).count("${env:"):
            self.problems.append(node.problem("`${env:` must go on as `NAME}` or `NAME:-default}`"))
            return node
        made = _ENV.sub(lookup, text)
        try:
            return replace(node, value=resolve(made) if _ENV.fullmatch(text) else made)
        except ValueError as error:
            self.problems.append(node.problem(str(error)))
            return node

    def _source(self, label: str, lines: bool = True) -> Source:
        self._order.setdefault(label, len(self._order))
        return Source(label, lines)

    def _break(self, problem: Problem | None) -> None:
        if problem is not None:
            self.problems.append(problem)
            self.broken = True


def _arguments(sets: Sequence[str], flags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(how it was typed, key=value); a short form is more exact than `--set`, so it comes last and wins."""
    yield from ((f"--set {text}", text) for text in sets)
    yield from ((f"--{key.replace('_', '-')} {value}", f"{key}={value}") for key, value in flags.items())


def _find(name: str, folder: Path | None) -> Path | None:
    """A file, else a shipped config of that name."""
    path = Path(os.path.abspath((folder or Path()) / Path(name).expanduser()))
    if path.exists():
        return path
    shipped = shipped_folder() / (name if name.endswith(".yaml") else f"{name}.yaml")
    return shipped if Path(name).name == name and shipped.is_file() else None


def _wrong_path(steps: Sequence[str], label: str) -> Problem | None:
    if not all(steps):
        return Problem("a key is missing before, between or after the dots", label)
    if any(step.isdecimal() or "[" in step for step in steps):
        return Problem("an item of a list cannot be changed by its number", label, hint="give the whole list: `key=[1, 2]`")
    return None


def _merge(below: Node, above: Node, path: tuple[str, ...]) -> Node:
    """Mappings merge, anything else replaces; a component of another name replaces too."""
    if len(path) == 1 and path[0] in COMPONENTS and path[0] != "augment":
        below = _named(below)
        if isinstance(above.value, str):
            return above
        name = above.value.get("name") if isinstance(above.value, dict) else None
        if name is not None and isinstance(below.value, dict) and name.value != getattr(below.value.get("name"), "value", None):
            return above
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    merged = dict(below.value)
    for key, node in above.value.items():
        merged[key] = _merge(merged[key], node, (*path, key)) if key in merged else node
    # The place of a merged mapping is where it was begun, unless only the defaults began it.
    return replace(above if below.source is DEFAULTS else below, value=merged)


def _named(node: Node) -> Node:
    """`conv_net` -> `{name: conv_net}`."""
    return replace(node, value={"name": replace(node, key=None)}) if isinstance(node.value, str) else node


def _root_place(root: Node) -> Node:
    """With no file at all, a missing key is missing from `--config`."""
    return replace(root, source=Source("--config", lines=False)) if root.source is DEFAULTS else root


def _default_values() -> dict[str, Any]:
    fields = Config.model_fields.items()
    values = {key: _plain(field.get_default()) for key, field in fields if not field.is_required()}
    return {key: value["name"] if key in COMPONENTS and key != "augment" else value for key, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        return {"name": value.name, **{key: _plain(one) for key, one in value.arguments.items()}}
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return _plain(value.model_dump()) if hasattr(value, "model_dump") else value
