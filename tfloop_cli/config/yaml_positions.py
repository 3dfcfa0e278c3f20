"""A strict YAML parser that keeps the line and column of every value.

PyYAML scans the text. Its own rules for values (YAML 1.1: `no` is False, `1e-3` is a string, `12:30:00` is a number,
duplicate keys are accepted silently) are not used. Parsing is event by event, so that limits stop a malicious file
before it uses much memory.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from tfloop_cli.config.yaml_scalars import resolve, write
from tfloop_cli.errors import Problem

MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_ALIASES = 100
MAX_VALUES = 100_000  # with all aliases expanded

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

# Hints for files that cannot be parsed.
_TABS = "indent with spaces"
_UNCLOSED = "check for an open bracket or quote here and above; quote text that contains `: `, `#` or brackets"
_DASH = 'a list begins on a line of its own; quote a dash that is a value, such as stdin: "-"'
_SAVE = "save the file as plain text, in UTF-8"
_EXAMPLE = "a config is a short list of keys and values; `tfloop config show -c mnist` shows one"


@dataclass(frozen=True)
class Source:
    """The source of values: a file, an option of the command line, or the defaults.

    Attributes:
        label: the path as typed, or the option.
        lines: whether places in it have line numbers (an option has none).
        folder: that of a user's file, from which its relative paths count; None: they count from the current folder.
    """

    label: str
    lines: bool = True
    folder: Path | None = None


@dataclass(frozen=True)
class Node:
    """A value with its place in a source.

    Attributes:
        value: a scalar, a list of nodes, or a mapping of text to nodes.
        line, column: counted from 1.
        key: line and column of the key, if the value belongs to one.
        with_name: whether it is an argument of a component that is given in one mapping with the component's name.
        typed: the text of a number or boolean, for keys whose value is text; None elsewhere.
    """

    value: Any
    source: Source
    line: int = 1
    column: int = 1
    key: tuple[int, int] | None = None
    with_name: bool = False
    typed: str | None = None

    def problem(self, message: str, hint: str | None = None, at_key: bool = False) -> Problem:
        """Returns a problem with this value, or with its key."""
        line, column = self.key if at_key and self.key else (self.line, self.column)
        if not self.source.lines:
            return Problem(message, self.source.label, hint=hint)
        return Problem(message, self.source.label, line, column, hint)

    def place(self) -> str:
        """Returns the place for messages: "mnist.yaml:5", "--set epochs=3", "default"."""
        return f"{self.source.label}:{self.line}" if self.source.lines else self.source.label

    def child(self, step: int | str) -> "Node | None":
        """Returns the value of a key or the item of a list; None if there is none."""
        inside: Any = self.value
        if isinstance(inside, dict):
            return inside.get(step)
        return inside[step] if isinstance(inside, list) and isinstance(step, int) else None

    def plain(self) -> Any:
        """Returns the value without places."""
        if isinstance(self.value, dict):
            return {key: inner.plain() for key, inner in self.value.items()}
        return [inner.plain() for inner in self.value] if isinstance(self.value, list) else self.value


class YamlError(Exception):
    """The text cannot be parsed beyond the place of the problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


@dataclass
class _Open:
    """A list or mapping that is still open."""

    node: Node
    anchor: str | None
    key: Node | None = None
    size: int = 1


@dataclass
class _Parser:
    source: Source
    problems: list[Problem]
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[Node, int]] = field(default_factory=dict)
    aliases: int = 0
    root: Node | None = None

    def fail(self, mark: yaml.Mark, message: str, hint: str | None = None) -> YamlError:
        return YamlError(self._node(None, mark).problem(message, hint))

    def _node(self, value: Any, mark: yaml.Mark) -> Node:
        return Node(value, self.source, mark.line + 1, mark.column + 1)

    def add_event(self, event: yaml.Event) -> None:
        mark = event.start_mark
        if getattr(event, "tag", None) is not None:
            # `!!str` and similar tags would be harmless, but no key needs them.
            message = f"YAML tags are not allowed; found `{_tag(event.tag)}`"
            self.problems.append(self.fail(mark, message, "remove the tag; quote the value if it is text").problem)
        if isinstance(event, yaml.ScalarEvent):
            if "\0" in event.value:
                raise self.fail(mark, "text must not contain the character NUL", "remove it")
            try:
                value = resolve(event.value) if not event.style else event.value
            except ValueError as error:
                raise self.fail(mark, str(error), "no key needs such a long number") from None
            typed = event.value if isinstance(value, bool | int | float) else None
            self._add(replace(self._node(value, mark), typed=typed), 1, event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(self.stack) >= MAX_DEPTH:
                raise self.fail(
                    mark, f"nested deeper than {MAX_DEPTH} levels", "no key of a config needs more than a few"
                )
            value = {} if isinstance(event, yaml.MappingStartEvent) else []
            self.stack.append(_Open(self._node(value, mark), event.anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self.stack.pop()
            self._add(done.node, done.size, done.anchor)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            hint = "remove the `---`, or move the rest into another file"
            raise self.fail(mark, "a second document begins here; a config is a single document", hint)

    def _alias(self, event: yaml.AliasEvent) -> None:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise self.fail(event.start_mark, f"more than {MAX_ALIASES} aliases", "repeat the values instead")
        if event.anchor not in self.anchors:
            message = f"the alias `*{event.anchor}` refers to no value above it"
            raise self.fail(event.start_mark, message, "repeat the value; quote text that begins with `*`")
        target, size = self.anchors[event.anchor]
        self._add(replace(target, line=event.start_mark.line + 1, column=event.start_mark.column + 1), size, None)

    def _add(self, node: Node, size: int, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = (node, size)
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        parent.size += size
        if parent.size > MAX_VALUES:
            message = f"more than {MAX_VALUES:,} values with all aliases expanded"
            raise YamlError(node.problem(message, "no config needs as many"))
        if isinstance(parent.node.value, list):
            parent.node.value.append(node)
        elif parent.key is None:
            parent.key = node
        else:
            self._add_pair(parent.node.value, parent.key, node)
            parent.key = None

    def _add_pair(self, mapping: dict[str, Node], key: Node, value: Node) -> None:
        if key.typed is not None and (len(self.stack) > 1 or not self.source.lines):  # the name of a column: 2020
            key = replace(key, value=key.typed)
        if not isinstance(key.value, str):
            hint = "quote it" if not isinstance(key.value, list | dict) else None
            self.problems.append(key.problem(f"a key must be text; found {found(key)}", hint))
        elif key.value == "<<":
            hint = "repeat the keys, or move them into another file and use `extends`"
            self.problems.append(key.problem("merge keys (`<<`) are not supported", hint))
        elif key.value in mapping:
            line = (mapping[key.value].key or (0, 0))[0]
            first = f"on line {line}" if self.source.lines else "before"
            self.problems.append(key.problem(f"`{key.value}` is set twice; first {first}", "remove one of them"))
        else:
            mapping[key.value] = replace(value, key=(key.line, key.column))


def parse(content: bytes, source: Source, problems: list[Problem]) -> Node:
    """Parses one YAML document.

    Args:
        content: of the file; UTF-8, with or without a byte order mark.
        source: of the content.
        problems: receives problems that do not stop the parser (duplicate keys, tags).

    Raises:
        YamlError: the parser cannot continue.
    """
    text = _decode(content, source)
    parser = _Parser(source, problems)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            parser.add_event(event)
    except yaml.MarkedYAMLError as error:
        message = f"not valid YAML: {error.problem}" + (f" ({error.context})" if error.context else "")
        hint = _TABS if "tab" in message else _DASH if "block sequence" in message else _UNCLOSED
        raise parser.fail(error.problem_mark or error.context_mark, message, hint) from None
    if parser.root is None:
        return Node(None, source)
    return parser.root


def _decode(content: bytes, source: Source) -> str:
    if len(content) > MAX_BYTES:
        raise YamlError(
            Problem(f"larger than {MAX_BYTES // 1024} KiB; this is not a config", source.label, hint=_EXAMPLE)
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise YamlError(Node(None, source, line, column).problem("not UTF-8 text", _SAVE)) from None
    if match := _UNPRINTABLE.search(text):
        line, column = text.count("\n", 0, match.start()) + 1, match.start() - text.rfind("\n", 0, match.start())
        message = f"not a text file: it contains the control character {match.group()!r}"
        raise YamlError(Node(None, source, line, column).problem(message, _SAVE))
    return text


def _tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def found(node: Node) -> str:
    """Returns a value as error messages show it."""
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if node.value is None:
        return "nothing (null)"
    text = str(node.value) if isinstance(node.value, str) and resolve(node.value) == node.value else write(node.value)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"


def plant(value: Any, source: Source) -> Node:
    """Returns a tree of plain values, without line numbers."""
    if isinstance(value, Mapping):
        return Node({str(key): plant(inner, source) for key, inner in value.items()}, source)
    if isinstance(value, list | tuple):
        return Node([plant(inner, source) for inner in value], source)
    return Node(value, source)


def map_text(node: Node, change: Callable[[Node], Node]) -> Node:
    """Returns the tree with `change` applied to every text value."""
    if isinstance(node.value, dict):
        return replace(node, value={key: map_text(inner, change) for key, inner in node.value.items()})
    if isinstance(node.value, list):
        return replace(node, value=[map_text(inner, change) for inner in node.value])
    return change(node) if isinstance(node.value, str) else node


def entries(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Yields every value that is not a mapping, with its dotted path."""
    if isinstance(node.value, dict) and node.value:
        for key, inner in node.value.items():
            yield from entries(inner, f"{path}.{key}" if path else key)
    else:
        yield path, node
