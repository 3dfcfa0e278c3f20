"""What a user may set about how a file of separated values is written."""

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tfloop_cli.errors import TfloopError

NAMED = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}


@dataclass(frozen=True)
class DialectOptions:
    """What a user may set; "auto" is detected.

    Attributes:
        separator: one character, up to three such as "::", or "tab" or "space" (of any length).
        header: "first_line", "two_lines" (their cells are joined to names) or "none".
        decimal: "." or ","; or the marks of some columns, by name.
        encoding: a name that Python knows.
        quote: one character, or "none".
        comment: lines that begin with it are not read; "none": there are no such lines.
        free_text: whether the file has texts, which do not show how it is written: a quotation mark in a .tsv file is a
            character, a space never separates cells, and bytes that are not UTF-8 make a row invalid.
        are_keys: whether these are keys of the dataset, which hints may name.
    """

    separator: str = "auto"
    header: str = "auto"
    decimal: str | Mapping[str, str] = "auto"
    encoding: str = "auto"
    quote: str = "auto"
    comment: str = "none"
    free_text: bool = False
    are_keys: bool = True

    @property
    def decimals(self) -> Mapping[str, str]:
        """The decimal marks of columns that are set."""
        return self.decimal if isinstance(self.decimal, Mapping) else {}

    @property
    def guesses_encoding(self) -> bool:
        """Whether a file that is not UTF-8 has a single-byte encoding."""
        return self.encoding == "auto" and not self.free_text

    def hint(self, key: str, encoding: str = "latin-1") -> str | None:
        """Returns what to do about a file of another encoding or header."""
        if key == "encoding":
            set_key = f", or set the encoding, such as `dataset.encoding={encoding}`" if self.are_keys else ""
            return f"save the file as UTF-8{set_key}"
        return f"key `{key}`" if self.are_keys else None

    def quote_hint(self, quote: str) -> str | None:
        """Returns what to do about a row with too few or too many cells after a quotation mark that is no `quote`."""
        if quote or not self.are_keys:
            return None
        return "quotation marks are read as characters; if they enclose cells, set the key `quote`: '\"'"

    def check(self) -> None:
        """Raises TfloopError (exit code 2) for an unknown encoding, or a separator or quote of several characters."""
        try:
            codecs.lookup("utf-8" if self.encoding == "auto" else self.encoding)
        except LookupError as error:
            raise TfloopError(f"`dataset.encoding`: {error}", hint="such as `latin-1` or `cp1252`") from error
        for key, value, words in (
            ("separator", self.separator, {"auto", *NAMED}),
            ("quote", self.quote, {"auto", "none"}),
        ):
            is_mark = len(value) == 1 and (key == "separator" or value.isascii())
            several = key == "separator" and re.fullmatch(r"[^\w\s\"']{2,3}", value)
            if not is_mark and not several and value not in words:
                names = ", ".join(f"`{word}`" for word in sorted(words) if word.isalpha())
                raise TfloopError(f"`dataset.{key}` is `{value}`", hint=f"use one character, or {names}")
