"""Weighted n-grams of words and characters: TF-IDF in hashed slots, for texts in any script.

A text is normalized (see `tokens.normalized`) and split at white space. Features are words, pairs of adjacent words,
and 1 to 4 adjacent characters within a word, whose beginning and end count as characters. So scripts without spaces,
and scripts with combining vowel signs, need no tokenizer.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from tfloop_cli.engine.data.texts.tokens import normalized

FORMAT = 1  # of the features; another number makes earlier encoders unusable
SLOTS = 2**18
MAX_CHARACTERS = 4  # of a character n-gram
TEXTS_AT_ONCE = 2048
CHARACTERS_AT_ONCE = 2**21  # of several texts; a single text may have more
_BEGIN, _END = "\x02", "\x03"  # of a word
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(_BASE, -1, 2**64)
_PAIR = np.uint64(0xD6E8FEB86659FD93)

Counts = tuple[
    np.ndarray, np.ndarray, np.ndarray
]  # row_splits int64 [texts + 1]; slots int32 and counts int32 [features]


def count_ngrams(texts: Sequence[str]) -> Iterator[Counts]:
    """Yields the slots of the n-grams of the texts, sorted and distinct in each text, several texts at a time.

    Even slots are of words and pairs of words, odd slots of characters.
    """
    rest = iter(texts)
    while block := list(islice(rest, TEXTS_AT_ONCE)):
        yield from _count_block([normalized(text).replace(_BEGIN, " ").replace(_END, " ").split() for text in block])


def _count_block(texts: list[list[str]]) -> Iterator[Counts]:
    """Yields the counts of texts, each a list of its words, for at most `CHARACTERS_AT_ONCE` at once."""
    marked = [_BEGIN + (_END + _BEGIN).join(words) + _END if words else "" for words in texts]
    first, characters = 0, 0
    for number, text in enumerate(marked):
        if characters and characters + len(text) > CHARACTERS_AT_ONCE:
            yield _count(marked[first:number])
            first, characters = number, 0
        characters += len(text)
    yield _count(marked[first:])


def _count(texts: list[str]) -> Counts:
    """Returns the counts of texts whose words have marks at both ends."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    text_of = np.repeat(np.arange(len(texts)), [len(text) for text in texts])  # [characters]
    starts = np.flatnonzero(codes == ord(_BEGIN))
    ends = np.flatnonzero(codes == ord(_END)) + 1
    spans = _Spans(codes)
    keys = [_keys(text_of[starts], spans.hashes(starts, ends), 0)]
    pairs = np.flatnonzero(text_of[starts[1:]] == text_of[starts[:-1]])
    keys.append(_keys(text_of[starts[pairs]], spans.pair_hashes(starts, ends, pairs), 0))
    positions, word_end = np.arange(len(codes)), np.repeat(ends, ends - starts)
    for length in range(1, MAX_CHARACTERS + 1):
        begins = positions[positions + length <= word_end]
        keys.append(_keys(text_of[begins], spans.hashes(begins, begins + length), 1))
    found, counts = _distinct(np.concatenate(keys))
    row_splits = np.searchsorted(found, np.arange(len(texts) + 1, dtype=np.int64) * SLOTS)
    return row_splits, (found % SLOTS).astype(np.int32), counts


class _Spans:
    """Hashes of any spans of a sequence of characters.

    A span is a polynomial in `_BASE` modulo 2^64, from prefix sums, so that all spans are hashed at once.

    Args:
        codes: of the characters, uint32 [characters].
    """

    def __init__(self, codes: np.ndarray) -> None:
        values = _mix(codes.astype(np.uint64) + np.uint64(1))
        self._inverse_powers = _powers(_INVERSE, len(codes) + 1)
        self._sums = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum(values * _powers(_BASE, len(codes)), out=self._sums[1:])

    def _polynomials(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        return (self._sums[ends] - self._sums[starts]) * self._inverse_powers[starts]

    def hashes(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns the hash of each span `starts[i]` to `ends[i]` - 1, uint64 [spans]."""
        return _mix(self._polynomials(starts, ends))

    def pair_hashes(self, starts: np.ndarray, ends: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        """Returns the hash of spans `pairs[i]` and `pairs[i]` + 1 together, uint64 [pairs]."""
        hashes = self.hashes(starts, ends)
        return _mix(hashes[pairs] * _PAIR + hashes[pairs + 1])


def _powers(base: int, count: int) -> np.ndarray:
    """Returns base^0 to base^(count - 1) modulo 2^64, uint64 [count]."""
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.multiply.accumulate(powers)


def _mix(values: np.ndarray) -> np.ndarray:
    """Returns values whose bits depend on all bits of the argument, uint64 (the finalizer of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _keys(texts: np.ndarray, hashes: np.ndarray, odd: int) -> np.ndarray:
    """Returns one number per n-gram, which sorts by text and then by slot: int64 [n-grams]."""
    slots = ((hashes % np.uint64(SLOTS // 2)) * np.uint64(2)).astype(np.int64) + odd
    return texts * SLOTS + slots


def _distinct(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct keys, sorted, and how often each occurs, at most 65535: uint16."""
    keys = np.sort(keys)
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[first], np.minimum(np.diff(first, append=len(keys)), 65535).astype(np.uint16)
