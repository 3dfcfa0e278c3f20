"""`tfloop list`: the registered components with their arguments, and the built-in configs."""

import textwrap
from typing import Any

from tfloop_cli.config.precedence import shipped_folder, shipped_names
from tfloop_cli.config.suggestions import nearest
from tfloop_cli.config.yaml_scalars import write
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import REGISTRIES
from tfloop_cli.registry.declarations import Declaration, Parameter
from tfloop_cli.registry.docstrings import first_sentence
from tfloop_cli.runs.documents import Document

KINDS = (*REGISTRIES, "configs")
_WIDTH = 80
_FOOTERS = {
    "datasets": "Any other name is a dataset of TensorFlow Datasets, with the arguments of `tfds` except `builder`.",
    "optimizers": "Gradient clipping, EMA and loss scaling are top-level keys of the config.",
}


def list_components(kind: str, name: str | None = None) -> tuple[Document, str]:
    """Returns the components of a kind, or one of them in detail, as a JSON document and as text.

    Args:
        kind: one of `KINDS`, or its singular.
        name: of one component; None for all.

    Raises:
        TfloopError: there is no such kind or component (exit code 2).
    """
    plural = next((one for one in KINDS if kind in (one, one.removesuffix("s"))), None)
    if plural is None:
        raise TfloopError(f"unknown kind `{kind}`", hint=nearest(kind, KINDS, "the kinds are"))
    if plural == "configs":
        return _list_configs(name)
    registry = REGISTRIES[plural]
    if name is not None:
        declaration = registry.declaration(name, {})
        return _document(plural, [document(declaration)]), _details(declaration)
    declarations = registry.declarations()
    blocks = [_block(one) for one in declarations]
    text = "\n\n".join([*blocks, *([textwrap.fill(_FOOTERS[plural], _WIDTH)] if plural in _FOOTERS else [])])
    return _document(plural, [document(one) for one in declarations]), text


def _document(kind: str, components: list[dict[str, Any]]) -> Document:
    return {"event": "list", "kind": kind, "components": components}


def document(declaration: Declaration) -> dict[str, Any]:
    """Returns a component as plain data."""
    return {
        "name": declaration.name,
        "summary": declaration.summary,
        "source": declaration.place,
        "arguments": [_argument(parameter) for parameter in declaration.parameters],
    }


def default_text(parameter: Parameter) -> str:
    """Returns "required", or the default of an argument."""
    return "required" if parameter.required else f"default {write(parameter.default)}"


def config_descriptions() -> dict[str, str]:
    """Returns the header comment of each built-in config, without its first line, which is the command."""
    descriptions = {}
    for name in shipped_names():
        header = []
        for line in (shipped_folder() / f"{name}.yaml").read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                break
            header.append(line.removeprefix("#").strip())
        descriptions[name] = " ".join(line for line in header[1:] if line)
    return descriptions


def _list_configs(name: str | None) -> tuple[Document, str]:
    configs = config_descriptions()
    if name is not None:
        if name.removesuffix(".yaml") not in configs:
            raise TfloopError(f"unknown config `{name}`", hint=nearest(name, configs, "the built-in configs are"))
        configs = {name.removesuffix(".yaml"): configs[name.removesuffix(".yaml")]}
    documents = [{"name": one, "summary": text} for one, text in configs.items()]
    text = "\n\n".join(f"{one}\n{_filled(about, '  ')}" for one, about in configs.items())
    return _document("configs", documents), text


def _argument(parameter: Parameter) -> dict[str, Any]:
    argument = {
        "name": parameter.name,
        "type": parameter.type_description,
        "required": parameter.required,
        "description": parameter.description,
    }
    return argument if parameter.required else {**argument, "default": parameter.default}


def _block(declaration: Declaration) -> str:
    """Returns a component in short: its summary, and one entry per argument."""
    lines = [declaration.name, _filled(declaration.summary, "  ")]
    width = max((len(one.name) for one in declaration.parameters), default=0)
    for one in declaration.parameters:
        text = f"{one.name:<{width}}  {one.type_description}; {default_text(one)}"
        lines.append(_filled(text, "    ", " " * (width + 6)))
        if one.description:
            lines.append(_filled(first_sentence(one.description), " " * (width + 6)))
    return "\n".join(lines)


def _details(declaration: Declaration) -> str:
    """Returns a component in full: its description, its arguments, and where it is declared."""
    paragraphs = declaration.doc.partition("\nArgs:")[0].partition("\nAttributes:")[0].strip().split("\n\n")
    lines = [declaration.name, *(_filled(" ".join(one.split()), "  ") + "\n" for one in paragraphs)]
    for one in declaration.parameters:
        lines.append(_filled(f"{one.name}  {one.type_description}; {default_text(one)}", "  ", "      "))
        if one.description:
            lines.append(_filled(one.description, "      "))
    return "\n".join([*lines, "", f"  declared in {declaration.place}"])


def _filled(text: str, indent: str, rest: str | None = None) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=rest or indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
