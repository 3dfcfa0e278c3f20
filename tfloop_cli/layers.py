"""The layers of a config: where files are found, what they extend, what the command line adds, and how they merge."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from tfloop_cli.checks import COMPONENTS, DEFAULTS, nearest
from tfloop_cli.errors import Problem
from tfloop_cli.yamltext import resolve
from tfloop_cli.yamltree import MAX_BYTES, Node, Source, YamlError, parse, walk_text

MAX_EXTENDS = 10
_ENV = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_PACKAGE = Path(__file__).parent


def shipped_folder() -> Path:
    """The ready configs: inside an installed package, beside the package in a checkout or an editable install."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def shipped_names() -> list[str]:
    """`mnist` for mnist.yaml, sorted."""
    return sorted(path.stem for path in shipped_folder().glob("*.yaml"))


class Layers:
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
            hint = "`tfloop config show -c mnist` shows one"
            self._break(Problem(what, label, root.line if root.value else None, hint=hint))
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
        return None if base is None else merge(base, root, ())

    def argument(self, label: str, text: str) -> Node | None:
        """The layer that one `--set` makes: {"optimizer": {"learning_rate": 0.1}}."""
        key, equals, value = text.partition("=")
        steps = key.strip().split(".")
        source = self._source(label, lines=False)
        if equals:
            problem = _wrong_path(steps, label)
        else:
            problem = Problem(f"`{text}` is not KEY=VALUE", label, hint="as in `--set optimizer.learning_rate=0.01`")
        if not value.strip() and problem is None:
            problem = Problem(f"`{key}` is given no value", label, hint=f"`{key}=null` says that it has none")
        if problem is not None:
            self._break(problem)
            return None
        node = self._parse(value.encode("utf-8", "surrogateescape"), source)
        for step in reversed(steps if node else []):
            node = Node({step: node}, source)
        return node

    def unset(self, root: Node, defaults: Node, path: str) -> Node:
        """Takes a key away; where it has a default, that comes back."""
        label = self._source(f"--unset {path}", lines=False).label
        steps = path.strip().split(".")
        if problem := _wrong_path(steps, label):
            self._break(problem)
            return root
        return self._without(root, defaults, steps, label, path)

    def _without(self, node: Node, default: Node | None, steps: Sequence[str], label: str, path: str) -> Node:
        known = node.value if isinstance(node.value, dict) else {}
        if steps[0] not in known:
            self.problems.append(
                Problem(f"there is no `{path}` to unset", label, hint=nearest(steps[0], known, "there are"))
            )
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
        label = _short(path) if by and path else name
        problem: Problem | None = None
        if path is None:
            message = f"there is no config `{name}`"
            hint = nearest(Path(name).stem, shipped_names(), "shipped configs:")
            problem = by.problem(message, hint) if by else Problem(message, f"--config {name}", hint=hint)
        elif path in chain:
            names = " -> ".join(one.name for one in (*chain[chain.index(path) :], path))
            problem = by.problem(f"these files extend each other in a circle: {names}") if by else None
        else:
            if by is None and path.parent == shipped_folder() and not Path(name).exists():
                self.notes.append(f"config `{name}`: the shipped {path}")
                label = path.name
            try:
                with path.open("rb") as file:
                    return file.read(MAX_BYTES + 1), label, path
            except OSError as error:
                message = f"cannot read the config: {error.strerror}"
                problem = by.problem(message) if by else Problem(message, name)
        self._break(problem)
        return None, label, Path(name)

    def _parse(self, content: bytes, source: Source) -> Node | None:
        try:
            return walk_text(parse(content, source, self.problems), self._substitute)
        except YamlError as error:
            self._break(error.problem)
            return None

    def _substitute(self, node: Node) -> Node:
        """Replaces `${env:NAME}`; a value that is nothing else is read as YAML: a number may come from there."""
        text: str = node.value
        if "${env:" not in text:
            return node

        def lookup(match: re.Match[str]) -> str:
            name, default = match.groups()
            if name not in os.environ and default is None:
                hint = f"set it, or give a default: `${{env:{name}:-default}}`"
                self.problems.append(node.problem(f"the environment variable `{name}` is not set", hint))
            return os.environ.get(name, default or "")

        made = _ENV.sub(lookup, text)
        if "${env:" in made:  # written wrongly; or brought by a variable, which a saved config could not say again
            self.problems.append(node.problem("`${env:` must go on as `NAME}` or `NAME:-default}`"))
            return node
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


def merge(below: Node, above: Node, path: tuple[str, ...]) -> Node:
    """Mappings merge, anything else replaces; a component of another name replaces too."""
    if len(path) == 1 and path[0] in COMPONENTS and path[0] != "augment":
        below = _named(below)
        if isinstance(above.value, str):
            return above
        name = above.value.get("name") if isinstance(above.value, dict) else None
        if (
            name is not None
            and isinstance(below.value, dict)
            and name.value != getattr(below.value.get("name"), "value", None)
        ):
            return above
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    merged = dict(below.value)
    for key, node in above.value.items():
        merged[key] = merge(merged[key], node, (*path, key)) if key in merged else node
    # The place of a merged mapping is where it was begun, unless only the defaults began it.
    return replace(above if below.source is DEFAULTS else below, value=merged)


def _named(node: Node) -> Node:
    """`conv_net` -> `{name: conv_net}`."""
    return replace(node, value={"name": replace(node, key=None)}) if isinstance(node.value, str) else node


def _read(stdin: TextIO | None) -> bytes:
    """Standard input as bytes, so that our own decoding can say what is wrong with them."""
    if stdin is None:
        return b""
    buffer = getattr(stdin, "buffer", None)
    content: bytes = buffer.read(MAX_BYTES + 1) if buffer else stdin.read().encode()
    return content


def _find(name: str, folder: Path | None) -> Path | None:
    """A file, else a shipped config of that name."""
    # Not Path.expanduser, which raises for an unknown user; not resolve, which breaks /dev/fd/63.
    path = Path(os.path.abspath((folder or Path()) / os.path.expanduser(name)))  # noqa: PTH100, PTH111
    if path.exists():
        return path
    shipped = shipped_folder() / (name if name.endswith(".yaml") else f"{name}.yaml")
    return shipped if Path(name).name == name and shipped.is_file() else None


def _short(path: Path) -> str:
    """How to call a file that the user did not type: a shipped one by its name, one below this folder from here on."""
    if path.parent == shipped_folder():
        return path.name
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _wrong_path(steps: Sequence[str], label: str) -> Problem | None:
    if not all(steps):
        return Problem("a key is missing before, between or after the dots", label)
    if any(step.isdecimal() or "[" in step for step in steps):
        return Problem(
            "an item of a list cannot be changed by its number", label, hint="give the whole list: `key=[1, 2]`"
        )
    return None
