"""Cells of tables whose texts come from names, configs and other files: no control characters."""

from typing import Any

from tfloop_cli.config.yaml_scalars import write


def printable(text: str) -> str:
    """Returns a text in which a control character, which could change the terminal, is escaped."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode() for one in text
    )


def value_text(value: Any) -> str:
    """Returns a value of a config or of a JSON file on one line."""
    return printable(write(value))
