"""Texts with one class each, read from files."""

import functools
import re
from array import array
from collections.abc import Callable, Sequence, Set
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np

from tfloop_cli.engine.data.csv_and_jsonl import Row, class_names, read_rows
from tfloop_cli.engine.data.invalid_examples import require_valid_examples, skip_example
from tfloop_cli.engine.data.spec import Dataset
from tfloop_cli.engine.data.text_source import FIRST_WORD, UNKNOWN, text_dataset
from tfloop_cli.errors import TfloopError
from tfloop_cli.registry import datasets
from tfloop_cli.registry.argument_types import OnResume, PositiveInt

_TOKEN = re.compile(r"\w+|[^\w\s]")


@datasets.register("text")
def text(
    *,
    train: Annotated[Path, OnResume.CHANGES_REST],
    test: Annotated[Path | None, OnResume.CHANGES_REST] = None,
    text: str = "text",
    label: str = "label",
    vocabulary: PositiveInt = 20000,
    max_tokens: PositiveInt = 400,
) -> Dataset:
    """Texts of .csv, .tsv or .jsonl files with one class each, as ids of lower-case words and punctuation marks.

    The test split uses the vocabulary and the classes of the training split.

    Args:
        train: the training file: one row, or one JSON object per line, per example.
        test: the test file; null: none.
        text: the column with the text, which may be empty.
        label: the column with the class.
        vocabulary: number of distinct words, the most frequent ones of the training split; all others share one id.
        max_tokens: number of words and punctuation marks per text; the rest of a longer text is not used.
    """
    seen: dict[str, int] = {}  # numbered by first occurrence, later by frequency
    read = functools.partial(_Texts, text=text, label=label, max_tokens=max_tokens)
    texts = read("train", train, number=lambda word: seen.setdefault(word, len(seen)))
    numbers, words = _most_frequent(list(seen), texts.tokens, vocabulary)
    names = class_names(texts.labels)
    splits = {"train": (numbers[texts.tokens], texts.row_splits, texts.classes(names))}
    if test:
        ids = {word: number for number, word in enumerate(words, FIRST_WORD)}
        texts = read("test", test, number=lambda word: ids.get(word, UNKNOWN), known=set(names))
        splits["test"] = (texts.tokens, texts.row_splits, texts.classes(names))
    return text_dataset(splits, names, FIRST_WORD + len(words), identity=(names, words))


class _Texts:
    """The texts of one file; invalid ones are skipped or raise an error.

    Args:
        split: the split that the file contains.
        file: its path.
        text: the column with the text.
        label: the column with the class.
        max_tokens: number of words per text.
        number: returns the number of a word.
        known: the allowed classes; None for any.

    Attributes:
        tokens: int32 [tokens], see `TextSource`.
        row_splits: int64 [examples + 1], see `TextSource`.
        labels: the class of each text, as in the file.
    """

    def __init__(
        self,
        split: str,
        file: Path,
        *,
        text: str,
        label: str,
        max_tokens: int,
        number: Callable[[str], int],
        known: Set[str] | None = None,
    ) -> None:
        self.labels: list[str] = []
        tokens, row_splits = array("i"), array("q", [0])
        for row in read_rows(file, split):
            try:
                words, kind = row.cell(text).lower(), _label(row, label, known)
            except TfloopError as error:
                skip_example(split, error)
                continue
            tokens.extend(number(match[0]) for match in islice(_TOKEN.finditer(words), max_tokens))
            row_splits.append(len(tokens))
            self.labels.append(kind)
        require_valid_examples(split, len(self.labels))
        self.tokens, self.row_splits = np.asarray(tokens), np.asarray(row_splits)

    def classes(self, names: Sequence[str]) -> np.ndarray:
        """Returns the labels as numbers, int32 [examples]."""
        number = {name: number for number, name in enumerate(names)}
        return np.array([number[label] for label in self.labels], np.int32)


def _label(row: Row, column: str, known: Set[str] | None) -> str:
    """Returns the class of a row; raises TfloopError if it has none or an unknown one."""
    label = row.cell(column)
    if not label:
        row.refuse(f"the label is missing (column `{column}`)")
    if known is not None and label not in known:
        row.refuse(f"the label `{label}` does not occur in the training split")
    return label


def _most_frequent(seen: list[str], tokens: np.ndarray, vocabulary: int) -> tuple[np.ndarray, list[str]]:
    """Returns the id of each seen word, int32 [seen], and the vocabulary by descending frequency, then alphabet."""
    counts = np.bincount(tokens, minlength=len(seen))
    order = sorted(range(len(seen)), key=lambda number: (-counts[number], seen[number]))[:vocabulary]
    ids = np.full(len(seen), UNKNOWN, np.int32)
    ids[order] = np.arange(FIRST_WORD, FIRST_WORD + len(order), dtype=np.int32)
    return ids, [seen[number] for number in order]
