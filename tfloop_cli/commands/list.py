"""`tfloop list`: what the registries hold, with arguments, types and defaults."""

import json
import re
import textwrap
from typing import Any

from tfloop_cli.checks import nearest
from tfloop_cli.declarations import Declaration, Parameter
from tfloop_cli.errors import TfloopError
from tfloop_cli.layers import shipped_folder, shipped_names
from tfloop_cli.registry import REGISTRIES
from tfloop_cli.yamltext import write

KINDS = (*REGISTRIES, "configs")
_WIDTH = 80
_FIRST_SENTENCE = re.compile(r".*?[.](?=\s+[A-Z]|$)")  # "et al. 2015" goes on
_AFTER = {
    "datasets": "Any other name is one of TensorFlow Datasets, with the arguments of `tfds` except `builder`.",
    "optimizers": "Clipping, weight averaging and loss scaling are keys of the config itself, not of the optimizer.",
}


def list_components(kind: str, as_json: bool = False) -> str:
    """The list for people, at most 80 columns wide, or for scripts: a JSON array.

    Args:
        kind: one of `KINDS`, or its singular.

    Raises:
        TfloopError: there is no such kind.
    """
    plural = next((one for one in KINDS if kind in (one, one.removesuffix("s"))), None)
    if plural is None:
        raise TfloopError(f"unknown kind `{kind}`", hint=nearest(kind, KINDS, "there are"))
    return json.dumps(documents(plural), indent=2) if as_json else _text(plural)


def _text(kind: str) -> str:
    if kind == "configs":
        return "\n\n".join(f"{name}\n{_filled(about, '  ')}" for name, about in _configs().items())
    blocks = [_block(declaration) for declaration in REGISTRIES[kind].declarations()]
    return "\n\n".join([*blocks, *([textwrap.fill(_AFTER[kind], _WIDTH)] if kind in _AFTER else [])])


def documents(kind: str) -> list[dict[str, Any]]:
    """The list as data: a mapping for each component."""
    if kind == "configs":
        return [{"name": name, "summary": about} for name, about in _configs().items()]
    return [
        {
            "name": one.name,
            "summary": summary(one),
            "source": one.place,
            "arguments": [_argument(parameter) for parameter in one.parameters],
        }
        for one in REGISTRIES[kind].declarations()
    ]


def summary(declaration: Declaration) -> str:
    """The docstring's first sentence, in one line."""
    paragraph = " ".join(declaration.doc.partition("\n\n")[0].split())
    match = _FIRST_SENTENCE.match(paragraph)
    return match[0] if match else paragraph


def _argument(parameter: Parameter) -> dict[str, Any]:
    known = {"name": parameter.name, "type": parameter.words, "required": parameter.required}
    return known if parameter.required else {**known, "default": parameter.default}


def _block(declaration: Declaration) -> str:
    lines = [declaration.name, _filled(summary(declaration), "  ")]
    width = max((len(one.name) for one in declaration.parameters), default=0)
    for one in declaration.parameters:
        end = "required" if one.required else f"default {write(one.default)}"
        lines.append(_filled(f"{one.name:<{width}}  {one.words}; {end}", "    ", " " * (width + 6)))
    return "\n".join(lines)


def _filled(text: str, indent: str, rest: str | None = None) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=rest or indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _configs() -> dict[str, str]:
    """Each shipped config with its header comment, without the command that begins it."""
    about = {}
    for name in shipped_names():
        lines = (shipped_folder() / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        header = []
        for line in lines:
            if not line.startswith("#"):
                break
            header.append(line.removeprefix("#").strip())
        about[name] = " ".join(line for line in header[1:] if line)
    return about
