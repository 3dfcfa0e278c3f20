"""Everything that is needed to encode other texts as those of the training split. It is data: JSON."""

import base64
import functools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, Literal, Self

import numpy as np

from tfloop_cli.engine.data.encoders import EncodersAsJson
from tfloop_cli.engine.data.tables.encoders import TargetEncoder
from tfloop_cli.engine.data.text_source import FIRST_WORD, Arrays
from tfloop_cli.engine.data.texts import ngrams
from tfloop_cli.engine.data.texts.tokens import has_script_without_spaces, most_frequent, token_ids, tokens_of

MAX_WEIGHTS = 2**24  # of a linear layer on n-grams: n-grams times classes
MIN_NGRAMS = 2**14  # are kept for any number of classes
# Of the words of a text, where its characters have 1. A word that occurs in one training text alone explains its target
# perfectly; with the weight of all its characters, these would not learn what the next text has in common with it.
WORDS_NORM = 0.7
Features = Literal["ngrams", "ids"]


@dataclass(frozen=True)
class TextEncoders(EncodersAsJson):
    """How texts become numbers.

    Attributes:
        features: "ngrams" (weighted n-grams) or "ids" (ids of words).
        text: the column with the text.
        target: the columns to predict.
        texts: number of training texts.
        words: of "ids": the vocabulary in the order of the ids, from `FIRST_WORD` on.
        max_tokens: of "ids": number of words per text.
        frequencies: of "ngrams": the number of training texts that have an n-gram of each slot, 0 for slots that are
            not used; int32 [ngrams.SLOTS], little-endian, zlib, base64.
        words_norm: of "ngrams": see `encode_counts`. Encoders that earlier versions wrote do not have it.
        dialect: `Dialect.facts` of the training file; None if it is no file of separated values.
        notes: what was decided for the user.
    """

    identity = ("text", 100 * ngrams.FORMAT + 2)  # the format of features too
    features: Features
    text: str
    target: TargetEncoder
    texts: int
    words: tuple[str, ...] = ()
    max_tokens: int = 0
    frequencies: str = ""
    words_norm: float = 1.0
    dialect: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def fitted(
        cls,
        texts: Sequence[str],
        fitted: np.ndarray,
        features: Features,
        vocabulary: int,
        max_tokens: int,
        **columns: Any,
    ) -> tuple[Self, Arrays]:
        """Returns encoders that are fitted to some of the texts, and all texts encoded; see `of_words`.

        Args:
            texts: of the training split, before any are held out.
            fitted: which of them the encoders are fitted to, bool [texts].
        """
        if features == "ids":
            encoders = cls.of_words(list(compress(texts, fitted)), vocabulary, max_tokens, **columns)
            return encoders, encoders.encode(texts)
        counts = list(ngrams.count_ngrams(texts))  # counted once
        encoders = cls.of_ngrams(counts, fitted, **columns)
        return encoders, encoders.encode_counts(counts)

    @classmethod
    def of_words(cls, texts: Sequence[str], vocabulary: int, max_tokens: int, **columns: Any) -> Self:
        """Returns encoders with the most frequent words of the training texts.

        Args:
            texts: of the training split.
            vocabulary: number of words.
            max_tokens: see the attributes.
            columns: `text`, `target` and `dialect`.
        """
        words = most_frequent([tokens_of(text, max_tokens) for text in texts], vocabulary)
        notes: tuple[str, ...] = ()
        if has_script_without_spaces(texts):
            notes = ("a script without spaces: each character is a token; `features: ngrams` learns them better",)
        return cls("ids", **columns, texts=len(texts), words=words, max_tokens=max_tokens, notes=notes)

    @classmethod
    def of_ngrams(cls, counts: Sequence[ngrams.Counts], fitted: np.ndarray, **columns: Any) -> Self:
        """Returns encoders with the n-grams of some texts, at most `MAX_WEIGHTS` for all classes.

        Args:
            counts: see `ngrams.count_ngrams`.
            fitted: which of the texts count, bool [texts].
            columns: `text`, `target` and `dialect`.
        """
        frequencies, start = np.zeros(ngrams.SLOTS, np.int64), 0
        for row_splits, slots, _ in counts:
            stop = start + len(row_splits) - 1
            used = np.repeat(fitted[start:stop], np.diff(row_splits))
            frequencies += np.bincount(slots[used], minlength=ngrams.SLOTS)
            start = stop
        target: TargetEncoder = columns["target"]
        limit = max(MIN_NGRAMS, MAX_WEIGHTS // (len(target.class_names) or len(target.names)))
        found, notes = int(np.count_nonzero(frequencies)), ()
        if found > limit:
            frequencies[np.argsort(-frequencies, kind="stable")[limit:]] = 0
            notes = (f"the {limit:,} most frequent n-grams are used, of {found:,}",)
        packed = base64.b64encode(zlib.compress(frequencies.astype("<i4").tobytes())).decode()
        texts = int(np.count_nonzero(fitted))
        facts = {"frequencies": packed, "words_norm": WORDS_NORM, "notes": notes}
        return cls("ngrams", **columns, texts=texts, **facts)

    @property
    def vocabulary(self) -> int:
        """The number of ids, 0 for padding included."""
        return FIRST_WORD + len(self.words) if self.features == "ids" else 1 + len(self._slots[0])

    @functools.cached_property
    def _slots(self) -> tuple[np.ndarray, np.ndarray]:
        """The slots in the order of their ids, from 1 on, and their inverse document frequencies, float32."""
        size = 4 * ngrams.SLOTS
        data = zlib.decompressobj().decompress(base64.b64decode(self.frequencies, validate=True), size)
        frequencies = np.frombuffer(data, "<i4", ngrams.SLOTS)
        slots = np.flatnonzero(frequencies)
        slots = np.concatenate([slots[slots % 2 == 0], slots[slots % 2 == 1]])  # words first
        return slots, (np.log((self.texts + 1) / (frequencies[slots] + 1)) + 1).astype(np.float32)

    def encode(self, texts: Sequence[str]) -> Arrays:
        """Returns ids and row splits, and the weights of n-grams; see `TextSource`."""
        if self.features == "ids":
            return token_ids([tokens_of(text, self.max_tokens) for text in texts], self.words)
        return self.encode_counts(list(ngrams.count_ngrams(texts)))

    def encode_counts(self, counts: list[ngrams.Counts]) -> Arrays:
        """Returns ids, row splits and weights of n-grams: (1 + ln count) x inverse document frequency.

        The weights of a text's words have the Euclidean norm `words_norm`, those of its characters 1.

        Args:
            counts: see `ngrams.count_ngrams`. The list is emptied, so that the memory is used again.
        """
        slots, inverse_frequencies = self._slots
        words = int(np.count_nonzero(slots % 2 == 0))
        id_of = np.zeros(ngrams.SLOTS, np.int32)
        id_of[slots] = np.arange(1, len(slots) + 1, dtype=np.int32)
        stop = sum(int(np.count_nonzero(id_of[slots])) for _, slots, _ in counts)
        ids, weights, lengths = np.empty(stop, np.int32), np.empty(stop, np.float32), [np.zeros(1, np.int64)]
        while counts:
            block_ids, block_lengths, block_weights = _weighted(
                counts.pop(), id_of, inverse_frequencies, words, self.words_norm
            )
            start = stop - len(block_ids)
            ids[start:stop], weights[start:stop] = block_ids, block_weights
            lengths.insert(1, block_lengths)
            stop = start
        return ids, np.cumsum(np.concatenate(lengths)), weights

    def overview(self) -> list[dict[str, Any]]:
        """Returns what is shown of each column; see `Encoders`."""
        use = f"ids of {len(self.words):,} words" if self.features == "ids" else f"{self.vocabulary - 1:,} n-grams"
        facts = {"type": "text", "missing": None, "distinct": None, "use": use}
        return [*self.target.overview(), {"name": self.text, **facts}]

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        encoders = cls(**values | {"target": TargetEncoder(**values["target"])})
        assert encoders.vocabulary >= 1  # the frequencies can be read
        return encoders


def _weighted(
    counts: ngrams.Counts, id_of: np.ndarray, inverse_frequencies: np.ndarray, words: int, words_norm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns ids, the number of ids per text, and weights; n-grams of slots that are not used are dropped.

    Args:
        counts: see `ngrams.count_ngrams`.
        id_of: of each slot, 0 for slots that are not used.
        inverse_frequencies: of the ids from 1 on.
        words: the ids 1 to `words` are of words, the others of characters.
        words_norm: see `TextEncoders.encode_counts`.
    """
    row_splits, slots, numbers = counts
    texts = len(row_splits) - 1
    ids = id_of[slots]
    text_of = np.repeat(np.arange(texts), np.diff(row_splits))[ids > 0]
    numbers, ids = numbers[ids > 0], ids[ids > 0]
    weights = (1 + np.log(numbers, dtype=np.float32)) * inverse_frequencies[ids - 1]
    block = text_of * 2 + (ids > words)
    squares = np.bincount(block, np.square(weights, dtype=np.float64), minlength=2 * texts)
    norms = np.tile([words_norm, 1.0], texts)
    weights /= (np.sqrt(np.maximum(squares, 1e-30)) / norms)[block].astype(np.float32)
    return ids, np.bincount(text_of, minlength=texts), weights
