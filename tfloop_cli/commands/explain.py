"""`tfloop explain`: what an exit code or a config key means, from the schema and the docstrings of components."""

import re
import signal
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from tfloop_cli.config.keys import keys, path_hint
from tfloop_cli.config.loading import Resolved, to_mapping
from tfloop_cli.config.on_resume import argument_policy
from tfloop_cli.config.suggestions import COMPONENT_KEYS
from tfloop_cli.config.yaml_scalars import write
from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.registry.declarations import Declaration, Parameter

_WIDTH = 80
_SIGNALED = 128  # the exit code of a process that a signal has ended is this and the signal's number
_ABOUT_SIGNALS = {
    signal.SIGKILL: "the system does so if memory runs out, and so do batch systems and containers at their limits; "
    "`tfloop resume last` continues from the last checkpoint",
    signal.SIGILL: "the processor lacks an instruction that TensorFlow uses, as AVX; `tfloop doctor` lists what it has",
}


def explain(word: str, resolved: Resolved | None = None) -> dict[str, Any]:
    """Returns what an exit code or a config key means, as a JSON document.

    Args:
        word: the number of an exit code, or the dotted name of a key: of the schema, or an argument of a component.
        resolved: a config, whose value of the key is added, with its source.

    Raises:
        TfloopError: there is no such code or key; the message suggests the nearest ones (exit code 2).
    """
    if re.fullmatch(r"-?[0-9]{1,9}", word):
        return {"event": "explain", **_exit_code(int(word))}
    found = _key(word) or _argument(word, resolved) or _argument(word, None)
    if found is None:
        raise TfloopError(f"unknown key `{word}`", hint=path_hint(word))
    return {"event": "explain", **found, **(_value(word, resolved) if resolved else {})}


def describe(document: Mapping[str, Any]) -> str:
    """Returns the document as text."""
    if "code" in document:
        name = f" ({document['name']})" if document["name"] else ""
        return f"exit code {document['code']}{name}\n{_filled(document['meaning'])}"
    lines = [document["key"]]
    for meaning in document["meanings"]:
        rows = {"of": ", ".join(meaning["components"])} if "components" in meaning else {}
        rows |= {"type": meaning["type"], "default": "required" if meaning["required"] else write(meaning["default"])}
        rows |= {"allowed": ", ".join(meaning["allowed"])} if meaning["allowed"] else {}
        rows["on resume"] = meaning["on_resume"]
        lines += [_filled(meaning["description"])] if meaning["description"] else []
        lines += [*(_row(name, text) for name, text in rows.items()), ""]
    if "value" in document:
        lines += [_row("value", f"{write(document['value'])}, from {document['source']}")]
    return "\n".join(lines).rstrip("\n")


def _exit_code(number: int) -> dict[str, Any]:
    if number in list(map(int, ExitCode)):
        code = ExitCode(number)  # type: ignore[call-arg]
        return {"code": number, "name": code.name, "meaning": code.meaning}
    if number - _SIGNALED in list(map(int, signal.Signals)):
        ended = signal.Signals(number - _SIGNALED)
        about = f": {_ABOUT_SIGNALS[ended]}" if ended in _ABOUT_SIGNALS else ""
        return {"code": number, "name": None, "meaning": f"ended by {ended.name}, which tfloop does not handle{about}"}
    raise TfloopError(
        f"tfloop has no exit code {number}", hint=f"the exit codes are {', '.join(str(int(code)) for code in ExitCode)}"
    )


def _key(word: str) -> dict[str, Any] | None:
    key = keys().get(word)
    if key is None:
        return None
    allowed = COMPONENT_KEYS[word].names() if word in COMPONENT_KEYS else []
    facts = {"type": key.type, "required": key.required, "default": key.default, "allowed": allowed}
    return {"key": word, "meanings": [{"description": key.description, **facts, "on_resume": key.on_resume}]}


def _argument(word: str, resolved: Resolved | None) -> dict[str, Any] | None:
    """Returns an argument of components, those with the same meaning together; None if no component has it."""
    key, _, name = word.partition(".")
    found: list[tuple[Parameter, list[str]]] = []
    for declaration in _components(key, resolved):
        for one in declaration.parameters:
            same = next((names for known, names in found if known == one and _same_text(known, one)), None)
            if one.name == name and same is not None:
                same.append(declaration.name)
            elif one.name == name:
                found.append((one, [declaration.name]))
    meanings = [
        {
            "description": one.description, "components": names, "type": one.type_description,
            "required": one.required, "default": one.default, "allowed": [], "on_resume": argument_policy(key, one),
        }
        for one, names in found
    ]  # fmt: skip
    return {"key": word, "meanings": meanings} if meanings else None


def _components(key: str, resolved: Resolved | None) -> Sequence[Declaration]:
    """Returns the components of a key that may be meant: those of the config, or all."""
    if key not in COMPONENT_KEYS:
        return ()
    if resolved is None:
        return COMPONENT_KEYS[key].declarations()
    chosen = getattr(resolved.config, key)
    found = chosen if isinstance(chosen, tuple) else (chosen,)
    return [COMPONENT_KEYS[key].declaration(one.name, one.arguments) for one in found]


def _same_text(one: Parameter, other: Parameter) -> bool:
    return one.description == other.description


def _value(word: str, resolved: Resolved) -> dict[str, Any]:
    """Returns the value of a key in a config and where it was set; {} for an argument in a list, as of `augment`."""
    value: Any = to_mapping(resolved.config)
    for step in word.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return {}
        value = value[step]
    inner = (path for path in resolved.sources if path.startswith(f"{word}."))
    sources = sorted({resolved.sources[path] for path in ([word] if word in resolved.sources else inner)})
    return {"value": value, "source": ", ".join(sources) or "default"}


def _row(name: str, text: str) -> str:
    return _filled(f"{name:<10} {text}", rest=" " * 13)


def _filled(text: str, indent: str = "  ", rest: str | None = None) -> str:
    return textwrap.fill(
        text, _WIDTH, initial_indent=indent, subsequent_indent=rest or indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
