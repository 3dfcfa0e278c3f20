"""A strict YAML reader that keeps the place of every value.

PyYAML scans the text; its own rules for values (YAML 1.1: `no` is False, `1e-3` a string, `12:30:00` a number, a
duplicate key wins in silence) are not used. Events come one by one, so a limit stops a hostile file before anything
has grown.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from tfloop_cli.errors import Problem
from tfloop_cli.yamltext import resolve, write

MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_ALIASES = 100
MAX_VALUES = 100_000  # counted as if every alias were written out

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

# What to do about a file that cannot be read.
_TABS = "indent with blanks"
_UNCLOSED = "look here and above: is a bracket or a quote open? text that holds `: `, `#` or brackets goes in quotes"
_SAVE = "save the file as plain text, in UTF-8"
_SMALL = "a config is a short text of keys and values; `tfloop config show -c mnist` shows one"


@dataclass(frozen=True)
class Source:
    """Where values come from: a file, an argument of the command line, or the defaults.

    Attributes:
        label: the path as it was typed, or the argument.
        lines: whether a place in it has a line (an argument has none).
    """

    label: str
    lines: bool = True


@dataclass(frozen=True)
class Node:
    """A value with its place.

    Attributes:
        value: a scalar, a list of nodes, or a mapping of text to nodes.
        line, column: counted from 1.
        key: the place of the key, where the value belongs to one.
    """

    value: Any
    source: Source
    line: int = 1
    column: int = 1
    key: tuple[int, int] | None = None

    def problem(self, message: str, hint: str | None = None, at_key: bool = False) -> Problem:
        """A problem with this value, or with its key."""
        line, column = self.key if at_key and self.key else (self.line, self.column)
        if not self.source.lines:
            return Problem(message, self.source.label, hint=hint)
        return Problem(message, self.source.label, line, column, hint)

    def place(self) -> str:
        """For people: "mnist.yaml:5", "--set epochs=3", "default"."""
        return f"{self.source.label}:{self.line}" if self.source.lines else self.source.label

    def child(self, step: int | str) -> "Node | None":
        """The value of a key or the item of a list; None where there is no such thing."""
        inside: Any = self.value
        if isinstance(inside, dict):
            return inside.get(step)
        return inside[step] if isinstance(inside, list) and isinstance(step, int) else None

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: inner.plain() for key, inner in self.value.items()}
        return [inner.plain() for inner in self.value] if isinstance(self.value, list) else self.value


class YamlError(Exception):
    """The text cannot be read further than the problem's place."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


@dataclass
class _Open:
    """A list or mapping that has begun and not ended."""

    node: Node
    anchor: str | None
    key: Node | None = None
    size: int = 1


@dataclass
class _Reader:
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

    def take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        if getattr(event, "tag", None) is not None:
            # `!!str` and the like would be harmless, but no key needs them.
            message = f"YAML tags are not allowed; found `{_tag(event.tag)}`"
            self.problems.append(self.fail(mark, message, "write the value alone, in quotes if it is text").problem)
        if isinstance(event, yaml.ScalarEvent):
            if "\0" in event.value:
                raise self.fail(mark, "text must not hold the character NUL", "take it away")
            try:
                value = resolve(event.value) if not event.style else event.value
            except ValueError as error:
                raise self.fail(mark, str(error), "no key takes a number that long") from None
            self._add(self._node(value, mark), 1, event.anchor)
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
            hint = "take the `---` away, or keep the rest in a file of its own"
            raise self.fail(mark, "a second document begins here; a config is one document", hint)

    def _alias(self, event: yaml.AliasEvent) -> None:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise self.fail(event.start_mark, f"more than {MAX_ALIASES} aliases", "write the values out")
        if event.anchor not in self.anchors:
            message = f"the alias `*{event.anchor}` names no value that ended before it"
            raise self.fail(event.start_mark, message, "write the value out; text that begins with `*` goes in quotes")
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
            message = f"more than {MAX_VALUES:,} values once every alias is written out"
            raise YamlError(node.problem(message, "no config needs so many"))
        if isinstance(parent.node.value, list):
            parent.node.value.append(node)
        elif parent.key is None:
            parent.key = node
        else:
            self._add_pair(parent.node.value, parent.key, node)
            parent.key = None

    def _add_pair(self, mapping: dict[str, Node], key: Node, value: Node) -> None:
        if not isinstance(key.value, str):
            hint = "put it in quotes" if not isinstance(key.value, list | dict) else None
            self.problems.append(key.problem(f"a key must be text; found {found(key)}", hint))
        elif key.value == "<<":
            hint = "write the keys out, or keep them in a file of their own and name it by `extends`"
            self.problems.append(key.problem("merge keys (`<<`) are not supported", hint))
        elif key.value in mapping:
            line = (mapping[key.value].key or (0, 0))[0]
            first = f"on line {line}" if self.source.lines else "before"
            self.problems.append(key.problem(f"`{key.value}` is given twice; first {first}", "keep one of the two"))
        else:
            mapping[key.value] = replace(value, key=(key.line, key.column))


def parse(content: bytes, source: Source, problems: list[Problem]) -> Node:
    """Reads one YAML document.

    Args:
        content: of the file; UTF-8, with or without a byte order mark.
        source: what to call it.
        problems: gets all that is wrong but leaves the rest readable (duplicate keys, tags).

    Raises:
        YamlError: reading could not go on.
    """
    text = _decode(content, source)
    reader = _Reader(source, problems)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        message = f"not valid YAML: {error.problem}" + (f" ({error.context})" if error.context else "")
        hint = _TABS if "tab" in message else _UNCLOSED
        raise reader.fail(error.problem_mark or error.context_mark, message, hint) from None
    if reader.root is None:
        return Node(None, source)
    return reader.root


def _decode(content: bytes, source: Source) -> str:
    if len(content) > MAX_BYTES:
        raise YamlError(Problem(f"larger than {MAX_BYTES // 1024} KiB; this is no config", source.label, hint=_SMALL))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise YamlError(Node(None, source, line, column).problem("not UTF-8 text", _SAVE)) from None
    if bad := _UNPRINTABLE.search(text):
        line, column = text.count("\n", 0, bad.start()) + 1, bad.start() - text.rfind("\n", 0, bad.start())
        message = f"not a text file: it holds the control character {bad.group()!r}"
        raise YamlError(Node(None, source, line, column).problem(message, _SAVE))
    return text


def _tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def found(node: Node) -> str:
    """A value as an error message shows it."""
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if node.value is None:
        return "nothing (null)"
    text = str(node.value) if isinstance(node.value, str) and resolve(node.value) == node.value else write(node.value)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"


def plant(value: Any, source: Source) -> Node:
    """A tree of plain values that have no lines."""
    if isinstance(value, Mapping):
        return Node({str(key): plant(inner, source) for key, inner in value.items()}, source)
    if isinstance(value, list | tuple):
        return Node([plant(inner, source) for inner in value], source)
    return Node(value, source)


def walk_text(node: Node, change: Callable[[Node], Node]) -> Node:
    """The same tree with every text value changed."""
    if isinstance(node.value, dict):
        return replace(node, value={key: walk_text(inner, change) for key, inner in node.value.items()})
    if isinstance(node.value, list):
        return replace(node, value=[walk_text(inner, change) for inner in node.value])
    return change(node) if isinstance(node.value, str) else node


def entries(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every value that is no mapping, by its dotted path."""
    if isinstance(node.value, dict) and node.value:
        for key, inner in node.value.items():
            yield from entries(inner, f"{path}.{key}" if path else key)
    else:
        yield path, node
