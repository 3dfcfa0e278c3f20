"""How texts are compared, and their words and punctuation marks."""

import functools
import re
import sys
import unicodedata
from collections.abc import Sequence
from itertools import islice

import numpy as np

from tfloop_cli.engine.data.text_source import FIRST_WORD, UNKNOWN

# Scripts that do not separate words: Thai, Lao, Tibetan, Myanmar, Khmer, kana, and Chinese characters.
WITHOUT_SPACES = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff"
)
WITHOUT_SPACES += "\U00020000-\U000323af"
_JOINERS = "\u200c\u200d"  # within words of Persian and Indian languages


@functools.cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Returns the patterns of a token, and of a character of a script without spaces."""
    # Combining marks, such as vowel signs, are no word characters for Python.
    marks = "".join(chr(code) for code in range(0x300, 0x1F000) if unicodedata.category(chr(code))[0] == "M")
    marks = re.escape(marks)
    character = rf"[{WITHOUT_SPACES}]"
    token = rf"{character}[{marks}]*|(?:[^\W{WITHOUT_SPACES}][{marks}{_JOINERS}]*)+|[^\w\s]"
    return re.compile(token), re.compile(character)


def normalized(text: str) -> str:
    """Returns a text as all features see it: Unicode NFKC, in lower case."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower()


def tokens_of(text: str, limit: int = sys.maxsize) -> list[str]:
    """Returns the first words and punctuation marks of a text, normalized; in a script without spaces, its characters.

    A combining mark belongs to the character before it.
    """
    return [match[0] for match in islice(_patterns()[0].finditer(normalized(text)), limit)]


def words_of(text: str) -> set[str]:
    """Returns the distinct tokens of a text that are no punctuation marks."""
    return {token for token in tokens_of(text) if token[0].isalnum() or token[0] == "_"}


def has_script_without_spaces(texts: Sequence[str]) -> bool:
    """Whether any of the texts contains a character of a script that does not separate words."""
    return any(_patterns()[1].search(text) for text in texts if not text.isascii())


def most_frequent(texts: Sequence[Sequence[str]], vocabulary: int) -> tuple[str, ...]:
    """Returns the most frequent tokens, by descending frequency, then alphabet."""
    counts: dict[str, int] = {}
    for tokens in texts:
        for token in tokens:
            counts[token] = counts.get(token, 0) + 1
    return tuple(sorted(counts, key=lambda token: (-counts[token], token))[:vocabulary])


def token_ids(texts: Sequence[Sequence[str]], words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids of all tokens, int32 [tokens], and where each text begins in them, int64 [texts + 1]."""
    ids = {word: number for number, word in enumerate(words, FIRST_WORD)}
    row_splits = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    found = (ids.get(token, UNKNOWN) for tokens in texts for token in tokens)
    return np.fromiter(found, np.int32, count=int(row_splits[-1])), row_splits
