"""The layers of a config: files, the files they extend, and options of the command line; and how layers are merged."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from tfloop_cli.config.data_paths import STDIN
from tfloop_cli.config.suggestions import COMPONENT_KEYS, LISTS, nearest
from tfloop_cli.config.validation import DEFAULTS
from tfloop_cli.config.yaml_positions import MAX_BYTES, Node, Source, YamlError, map_text, parse
from tfloop_cli.config.yaml_scalars import resolve
from tfloop_cli.errors import Problem, short_path

MAX_EXTENDS = 10
_ENV = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_PACKAGE = Path(__file__).parents[1]


def shipped_folder() -> Path:
    """Returns the folder of the built-in configs: inside an installed package, next to it in a checkout."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def shipped_names() -> list[str]:
    """Returns the names of the built-in configs, sorted: `mnist` for mnist.yaml."""
    return sorted(path.stem for path in shipped_folder().glob("*.yaml"))


class LayerReader:
    """Reads layers; collects problems and notes.

    Attributes:
        problems: what is wrong so far.
        notes: messages for the user.
        incomplete: whether a layer could not be read, so that validating the rest would be misleading.
    """

    def __init__(self, stdin: TextIO | None) -> None:
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.incomplete = False
        self._stdin = stdin
        self._order: dict[str, int] = {}

    def in_order(self, more: Sequence[Problem]) -> list[Problem]:
        """Returns all problems, sorted by file and line."""

        def key(problem: Problem) -> tuple[int, int, int]:
            return self._order.get(problem.file or "", -1), problem.line or 0, problem.column or 0

        return sorted([*self.problems, *more], key=key)

    def file(self, name: str, by: Node | None, chain: tuple[Path, ...]) -> Node | None:
        """Reads a config file, merged over the file that it extends; None if it cannot be read.

        Args:
            name: a path or the name of a built-in config.
            by: the value of `extends` that named it; None for a file on the command line.
            chain: the files whose `extends` led here.
        """
        content, label, path = self._content(name, by, chain)
        if content is None:
            return None
        source = replace(self._source(label), folder=_folder_of_paths(path))
        root = self._parse(content, source)
        if root is None:
            return None
        if not isinstance(root.value, dict):
            what = "the file is empty" if root.value is None else "a config is a mapping of keys to values"
            hint = "`tfloop config show -c mnist` shows one"
            self._fail(Problem(what, label, root.line if root.value else None, hint=hint))
            return None
        rest = dict(root.value)
        extends = rest.pop("extends", None)
        root = _mark_arguments(replace(root, value=rest))
        if extends is None:
            return root
        if not isinstance(extends.value, str) or not extends.value:
            self._fail(extends.problem("`extends` must be the path or name of one config file"))
            return None
        if len(chain) >= MAX_EXTENDS:
            self._fail(extends.problem(f"more than {MAX_EXTENDS} files extend each other"))
            return None
        base = self.file(extends.value, extends, (*chain, path))
        return None if base is None else merge(base, root, ())

    def argument(self, label: str, text: str) -> Node | None:
        """Returns the layer of one `--set`: {"optimizer": {"learning_rate": 0.1}}; None if it is invalid."""
        key, equals, value = text.partition("=")
        steps = key.strip().split(".")
        source = self._source(label, lines=False)
        if equals:
            problem = _wrong_path(steps, label)
        else:
            problem = Problem(
                f"`{text}` is not KEY=VALUE", label, hint="for example `--set optimizer.learning_rate=0.01`"
            )
        if not value.strip() and problem is None:
            problem = Problem(f"`{key}` has no value", label, hint=f"use `{key}=null` for no value")
        if problem is not None:
            self._fail(problem)
            return None
        if value.strip() == STDIN:  # in YAML it is a list
            node: Node | None = Node(STDIN, source)
        else:
            node = self._parse(value.encode("utf-8", "surrogateescape"), source)
        if node is None:
            return None
        for step in reversed(steps):
            node = Node({step: node}, source)
        return _mark_arguments(node)

    def unset(self, root: Node, defaults: Node, path: str) -> Node:
        """Removes a key; its default, if it has one, takes effect."""
        label = self._source(f"--unset {path}", lines=False).label
        steps = path.strip().split(".")
        if problem := _wrong_path(steps, label):
            self._fail(problem)
            return root
        return self._without(root, defaults, steps, label, path)

    def _without(self, node: Node, default: Node | None, steps: Sequence[str], label: str, path: str) -> Node:
        known = node.value if isinstance(node.value, dict) else {}
        if steps[0] not in known:
            self.problems.append(Problem(f"unknown key `{path}`", label, hint=nearest(steps[0], known, "there are")))
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
            return _read(self._stdin), "<stdin>", Path("-")
        path = _find(name, chain[-1].parent if chain else None)
        label = name
        if by and path:
            label = path.name if path.parent == shipped_folder() else short_path(path)
        problem: Problem | None = None
        if path is None:
            message = f"config `{name}` not found"
            hint = nearest(Path(name).stem, shipped_names(), "built-in configs:")
            problem = by.problem(message, hint) if by else Problem(message, hint=hint)
        elif path in chain:
            names = " -> ".join(one.name for one in (*chain[chain.index(path) :], path))
            problem = by.problem(f"these files extend each other in a cycle: {names}") if by else None
        else:
            if by is None and path.parent == shipped_folder() and not Path(name).exists():
                self.notes.append(f"using built-in config {path.name}")
                label = path.name
            try:
                with path.open("rb") as file:
                    return file.read(MAX_BYTES + 1), label, path
            except OSError as error:
                message = f"cannot read the config: {error.strerror}"
                problem = by.problem(message) if by else Problem(message, name)
        self._fail(problem)
        return None, label, Path(name)

    def _parse(self, content: bytes, source: Source) -> Node | None:
        try:
            return map_text(parse(content, source, self.problems), self._substitute)
        except YamlError as error:
            self._fail(error.problem)
            return None

    def _substitute(self, node: Node) -> Node:
        """Replaces `${env:NAME}`. A value that consists of it alone is parsed as YAML, so that it may be a number."""
        text: str = node.value
        if "${env:" not in text:
            return node

        def lookup(match: re.Match[str]) -> str:
            name, default = match.groups()
            if name not in os.environ and default is None:
                hint = f"set it, or give a default: `${{env:{name}:-default}}`"
                self.problems.append(node.problem(f"the environment variable `{name}` is not set", hint))
            return os.environ.get(name, default or "")

        replaced = _ENV.sub(lookup, text)
        if (
            "${env:" in replaced
        ):  # a syntax error, or part of a variable's value, which a saved config could not express
            self.problems.append(node.problem("`${env:` must be followed by `NAME}` or `NAME:-default}`"))
            return node
        if (first := _ENV.match(text)) and first[1] in os.environ:
            node = replace(node, source=replace(node.source, folder=None))  # a path of whoever set the variable
        try:
            return replace(node, value=resolve(replaced) if _ENV.fullmatch(text) else replaced)
        except ValueError as error:
            self.problems.append(node.problem(str(error)))
            return node

    def _source(self, label: str, lines: bool = True) -> Source:
        self._order.setdefault(label, len(self._order))
        return Source(label, lines)

    def _fail(self, problem: Problem | None) -> None:
        if problem is not None:
            self.problems.append(problem)
            self.incomplete = True


def merge(below: Node, above: Node, path: tuple[str, ...]) -> Node:
    """Merges mappings; any other value replaces the one below.

    A component with another name replaces the one below, with the arguments that were given together with its name.
    Arguments that were given without a name are kept, so that `--set optimizer.learning_rate=1 --set optimizer=sgd` is
    the same in either order. If the new component has no such argument, that is an error.
    """
    if len(path) == 1 and path[0] in COMPONENT_KEYS and path[0] not in LISTS:
        below = _named(below)
        if isinstance(below.value, dict) and _replaces(below.value, above.value):
            kept = {key: node for key, node in below.value.items() if key != "name" and not node.with_name}
            return merge(replace(below, value=kept), _named(above), ()) if kept else above
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    merged = dict(below.value)
    for key, node in above.value.items():
        merged[key] = merge(merged[key], node, (*path, key)) if key in merged else node
    # The place of a merged mapping is that of the lower layer, unless that is the defaults.
    return replace(above if below.source is DEFAULTS else below, value=merged)


def _named(node: Node) -> Node:
    """`conv_net` -> `{name: conv_net}`."""
    return replace(node, value={"name": replace(node, key=None)}) if isinstance(node.value, str) else node


def _replaces(below: Mapping[str, Node], above: Any) -> bool:
    """Whether the value of a component's key is another component, or a name alone: the component with its defaults."""
    if not isinstance(above, dict):
        return isinstance(above, str)
    return "name" in above and above["name"].value != getattr(below.get("name"), "value", None)


def _mark_arguments(root: Node) -> Node:
    """Marks the arguments of each component whose mapping in this layer has a `name`; see `Node.with_name`."""
    values = dict(root.value)
    for key in COMPONENT_KEYS:
        node = values.get(key)
        if node is not None and isinstance(node.value, dict) and "name" in node.value:
            arguments = {name: replace(inner, with_name=True) for name, inner in node.value.items()}
            values[key] = replace(node, value=arguments)
    return replace(root, value=values)


def _read(stdin: TextIO | None) -> bytes:
    """Returns standard input as bytes, so that decoding errors get a line number."""
    if stdin is None:
        return b""
    buffer = getattr(stdin, "buffer", None)
    content: bytes = buffer.read(MAX_BYTES + 1) if buffer else stdin.read().encode()
    return content


def _find(name: str, folder: Path | None) -> Path | None:
    """Returns the path of a file, else of a built-in config of that name."""
    # Not Path.expanduser, which raises for an unknown user; not resolve, which breaks /dev/fd/63.
    path = Path(os.path.abspath((folder or Path()) / os.path.expanduser(name)))  # noqa: PTH100, PTH111
    if path.exists():
        return path
    shipped = shipped_folder() / (name if name.endswith(".yaml") else f"{name}.yaml")
    return shipped if Path(name).name == name and shipped.is_file() else None


def _folder_of_paths(file: Path) -> Path | None:
    """Returns the folder from which the relative paths in a config count; None for the current folder.

    It is that of the user's own file. A built-in config, standard input and a pipe, `<(...)`, have none.
    """
    return file.parent if file.is_file() and file.parent != shipped_folder() else None


def _wrong_path(steps: Sequence[str], label: str) -> Problem | None:
    if not all(steps):
        return Problem("a key is empty before, between or after the dots", label)
    if any(step.isdecimal() or "[" in step for step in steps):
        return Problem(
            "an item of a list cannot be changed by its number", label, hint="set the whole list: `key=[1, 2]`"
        )
    return None
