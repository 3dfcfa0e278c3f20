"""Detects the encoding of a text file."""

import codecs
import re


def find_encoding(sample: bytes, is_unicode: bool = False) -> str:
    """Returns "utf-8", "utf-16" or, if the bytes are not UTF-8, "cp1252" or "latin-1"; these not if `is_unicode`."""
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if is_unicode:
        return "utf-8"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # the last character may be incomplete
    except UnicodeDecodeError:
        return single_byte_encoding(sample)
    return "utf-8"


def single_byte_encoding(content: bytes) -> str:
    """Returns "cp1252" (Windows), which is Latin-1 with more printable characters, or "latin-1" if it has others."""
    return "latin-1" if re.search(rb"[\x81\x8d\x8f\x90\x9d]", content) else "cp1252"
