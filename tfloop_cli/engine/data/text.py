"""Texts with a class each: out of files, and made up."""

import functools
import hashlib
import re
from array import array
from collections.abc import Callable, Sequence, Set
from itertools import islice

import numpy as np
import tensorflow as tf

from tfloop_cli.engine.data.bad import leave_out, require_some, skipping
from tfloop_cli.engine.data.files import Row, class_names, read_rows
from tfloop_cli.engine.data.spec import Dataset, DataSpec, fingerprint_of
from tfloop_cli.errors import TfloopError
from tfloop_cli.fields import Fraction, NonNegativeInt, PositiveInt
from tfloop_cli.registry import datasets

UNKNOWN, FIRST_WORD = 1, 2  # ids; 0 fills up the shorter texts of a batch
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]  # what a TextSource is made of
_TOKEN = re.compile(r"\w+|[^\w\s]")


class TextSource:
    """A split of texts in memory, of whatever lengths.

    Args:
        tokens: the ids of all texts, one after another, int32 [tokens].
        splits: where each text begins in them, and where the last one ends, int64 [examples + 1].
        labels: int32 [examples].
    """

    def __init__(self, tokens: np.ndarray, splits: np.ndarray, labels: np.ndarray) -> None:
        with tf.device("CPU"):
            self.texts = tf.RaggedTensor.from_row_splits(tokens, splits)
            self.labels = tf.convert_to_tensor(labels)

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def gather(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Source`: int32 [batch, longest of them], filled up with 0, and int32 [batch]."""
        return tf.gather(self.texts, indices).to_tensor(), tf.gather(self.labels, indices)


@datasets.register("text")
def text(
    *,
    train: str,
    test: str | None = None,
    text: str = "text",
    label: str = "label",
    vocabulary: PositiveInt = 20000,
    max_tokens: PositiveInt = 400,
) -> Dataset:
    """Texts of .csv, .tsv or .jsonl files with a class each, as ids of lower-cased words and punctuation marks.

    The test split is read with the words and the classes of the training split.

    Args:
        train: the file to train on: a row, or a JSON object, an example.
        test: the file to be scored on at the end; null: none.
        text: the column that holds the text; it may be empty.
        label: the column that holds the class.
        vocabulary: how many different words to know, the most frequent of the training split; all others are alike.
        max_tokens: how many words and marks of a text to read; the rest of it is left out, and counts for nothing.
    """
    seen: dict[str, int] = {}  # numbered as they come, and by how frequent they are once that is known
    read = functools.partial(_Texts, text=text, label=label, max_tokens=max_tokens)
    texts = read("train", train, number=lambda word: seen.setdefault(word, len(seen)))
    numbers, words = _most_frequent(list(seen), texts.tokens, vocabulary)
    names = class_names(texts.labels)
    splits = {"train": (numbers[texts.tokens], texts.splits, texts.classes(names))}
    if test:
        ids = {word: number for number, word in enumerate(words, FIRST_WORD)}
        texts = read("test", test, number=lambda word: ids.get(word, UNKNOWN), known=set(names))
        splits["test"] = (texts.tokens, texts.splits, texts.classes(names))
    return _dataset(splits, names, FIRST_WORD + len(words), told=(names, words))


@datasets.register("synthetic_text")
def synthetic_text(
    *,
    classes: PositiveInt = 4,
    words: PositiveInt = 2000,
    shortest: PositiveInt = 5,
    longest: PositiveInt = 100,
    train_examples: PositiveInt = 4096,
    test_examples: PositiveInt = 1024,
    signal: Fraction = 0.2,
    seed: NonNegativeInt = 0,
) -> Dataset:
    """Made-up texts of random lengths: few words are frequent, and each class has some that it likes.

    Args:
        classes: how many.
        words: how many different ones there are.
        shortest: the fewest words of a text.
        longest: the most words of a text.
        train_examples: size of the training split.
        test_examples: size of the test split.
        signal: share of the words that come from those that the class likes, a tenth of all.
        seed: makes the same data again; has nothing to do with the run's seed.
    """
    if longest < shortest:
        raise TfloopError(f"`dataset.longest` is {longest}, less than `dataset.shortest`, {shortest}")
    skipping()  # nothing that is made up is bad
    random = np.random.Generator(np.random.Philox(key=seed))
    liked = random.integers(words, size=(classes, max(1, words // 10)))

    def split(examples: int) -> Arrays:
        labels = random.integers(classes, size=examples, dtype=np.int32)
        lengths = random.integers(shortest, longest + 1, size=examples)
        label_of_word = np.repeat(labels, lengths)
        frequent = (random.random(label_of_word.size) ** 3 * words).astype(np.int64)  # half of them from an eighth
        special = liked[label_of_word, random.integers(liked.shape[1], size=label_of_word.size)]
        tokens = np.where(random.random(label_of_word.size) < signal, special, frequent) + FIRST_WORD
        return tokens.astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]), labels

    names = tuple(str(label) for label in range(classes))
    return _dataset({"train": split(train_examples), "test": split(test_examples)}, names, FIRST_WORD + words)


class _Texts:
    """The texts of one file, without the bad ones where these are left out.

    Args:
        split: that the file is.
        file: as the user wrote it.
        text: the column that holds the text.
        label: the column that holds the class.
        max_tokens: how many words of a text to keep.
        number: a word's number.
        known: the classes that there may be; None for any.

    Attributes:
        tokens: int32 [tokens], see `TextSource`.
        splits: int64 [examples + 1], see `TextSource`.
        labels: each text's class, as the file has it.
    """

    def __init__(
        self,
        split: str,
        file: str,
        *,
        text: str,
        label: str,
        max_tokens: int,
        number: Callable[[str], int],
        known: Set[str] | None = None,
    ) -> None:
        self.labels: list[str] = []
        tokens, splits = array("i"), array("q", [0])
        for row in read_rows(file, split):
            try:
                words, kind = row.cell(text).lower(), _label(row, label, known)
            except TfloopError as error:
                leave_out(split, error)
                continue
            tokens.extend(number(match[0]) for match in islice(_TOKEN.finditer(words), max_tokens))
            splits.append(len(tokens))
            self.labels.append(kind)
        require_some(split, len(self.labels))
        self.tokens, self.splits = np.asarray(tokens), np.asarray(splits)

    def classes(self, names: Sequence[str]) -> np.ndarray:
        """The labels as numbers, int32 [examples]."""
        number = {name: number for number, name in enumerate(names)}
        return np.array([number[label] for label in self.labels], np.int32)


def _label(row: Row, column: str, known: Set[str] | None) -> str:
    """A row's class; TfloopError if it has none, or one that is not among those that are known."""
    label = row.cell(column)
    if not label:
        row.refuse(f"the label is missing (column `{column}`)")
    if known is not None and label not in known:
        row.refuse(f"the label `{label}` does not occur in the training split")
    return label


def _most_frequent(seen: list[str], tokens: np.ndarray, vocabulary: int) -> tuple[np.ndarray, list[str]]:
    """Each seen word's id, int32 [seen], and the words to know, the most frequent first (of equals by alphabet)."""
    counts = np.bincount(tokens, minlength=len(seen))
    order = sorted(range(len(seen)), key=lambda number: (-counts[number], seen[number]))[:vocabulary]
    ids = np.full(len(seen), UNKNOWN, np.int32)
    ids[order] = np.arange(FIRST_WORD, FIRST_WORD + len(order), dtype=np.int32)
    return ids, [seen[number] for number in order]


def _dataset(splits: dict[str, Arrays], names: tuple[str, ...], vocabulary: int, told: object = None) -> Dataset:
    digest = hashlib.sha256(fingerprint_of(splits).encode())
    digest.update(repr(told).encode())  # ids and labels mean nothing without the words and classes behind them
    return Dataset(
        spec=DataSpec((None,), "int32", (), names, vocabulary),
        splits={name: TextSource(*arrays) for name, arrays in splits.items()},
        fingerprint=digest.hexdigest(),
    )
