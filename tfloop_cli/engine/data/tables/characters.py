"""Digits and signs of other scripts, in numbers and dates that are written as text."""
# ruff: noqa: RUF001, RUF002 (characters of other scripts)

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# The zeros of decimal digits; nine more digits follow each: Arabic, Persian, N'Ko, Devanagari, Bengali, Gurmukhi,
# Gujarati, Oriya, Tamil, Telugu, Kannada, Malayalam, Thai, Lao, Tibetan, Myanmar, Khmer, Mongolian, and fullwidth ones.
_ZEROS = "٠۰߀०০੦૦୦௦౦೦൦๐໐༠၀០᠐０"
_SIGNS = {
    "−": "-",
    "－": "-",
    "＋": "+",
    "．": ".",
    "，": ",",
    "／": "/",
    "：": ":",
    "％": "%",
    "٫": ".",
    "٬": ",",
    "٪": "%",
}
_DIGITS = {chr(ord(zero) + digit): str(digit) for zero in _ZEROS for digit in range(10)}
_ASCII = str.maketrans(_DIGITS | _SIGNS)
_PATTERN = "[" + "".join(f"{zero}-{chr(ord(zero) + 9)}" for zero in _ZEROS) + re.escape("".join(_SIGNS)) + "]"


def with_ascii_digits(texts: pa.Array) -> pa.Array:
    """Returns texts in which digits and signs of numbers are those of ASCII, such as 12.5 for ١٢٫٥ and -3 for −3."""
    others = np.asarray(pc.match_substring_regex(texts, _PATTERN))
    if not others.any():
        return texts
    changed = [text.as_py().translate(_ASCII) for text in texts.filter(pa.array(others))]
    return pc.replace_with_mask(texts, pa.array(others), pa.array(changed, texts.type))
