"""YAML scalars: parses plain text by the rules of YAML 1.2, and writes values that every YAML parser reads alike."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

# The core schema of YAML 1.2.
_WORDS = {word: value for value, words in (
    (None, ("", "~", "null", "Null", "NULL")), (True, ("true", "True", "TRUE")), (False, ("false", "False", "FALSE")),
) for word in words}  # fmt: skip
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII
)
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
# Words that some YAML parsers do not read as text.
_RESERVED = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}

MAX_DIGITS = 1000  # Python cannot print an integer with more than 4300

Scalar: TypeAlias = bool | int | float | str | None


def resolve(text: str) -> Scalar:
    """Returns the value of a plain scalar by YAML 1.2: `no` is text, `1e-3` is a number.

    Raises:
        ValueError: an integer has too many digits.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise ValueError(f"an integer of {len(text)} digits")
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan")) if _FLOAT.fullmatch(text) else text


def write(value: Any) -> str:
    """Returns a value on one line, as YAML that every parser reads alike."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            if not math.isfinite(value):
                return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
            text = repr(value)
            # `1e-07` is a number in YAML 1.2 but text in YAML 1.1; `1.0e-07` is a number in both.
            return text.replace("e", ".0e") if "e" in text and "." not in text else text
        case str():
            return value if _BARE.fullmatch(value) and value.lower() not in _RESERVED else _quote(value)
        case Mapping():
            return "{" + ", ".join(f"{write(key)}: {write(inner)}" for key, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(write(inner) for inner in value) + "]"
        case _:
            return str(value)


def _quote(text: str) -> str:
    def escape(match: re.Match[str]) -> str:
        code = ord(match.group())
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

    return re.sub("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]", escape, json.dumps(text, ensure_ascii=False))
