"""Texts with one class each, read from files or folders."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from tfloop_cli.engine.data.build_context import build_context
from tfloop_cli.engine.data.choosing import Candidates, training_rows
from tfloop_cli.engine.data.columns import columns_of
from tfloop_cli.engine.data.csv_and_jsonl import Format, class_names
from tfloop_cli.engine.data.spec import Dataset
from tfloop_cli.engine.data.text_source import Arrays, text_dataset
from tfloop_cli.engine.data.texts.encoders import TextEncoders
from tfloop_cli.engine.data.texts.reading import Columns, Texts, find_splits, first_texts, read_texts
from tfloop_cli.registry import datasets
from tfloop_cli.registry.argument_types import OnResume, PositiveInt


@datasets.register("text")
def text(
    *,
    train: Annotated[Path, OnResume.CHANGES_REST],
    test: Annotated[Path | None, OnResume.CHANGES_REST] = None,
    text: str | None = None,
    target: str | None = None,
    features: Literal["ngrams", "ids"] = "ngrams",
    vocabulary: PositiveInt = 20000,
    max_tokens: PositiveInt = 400,
    encoding: str = "auto",
    quote: str = "auto",
    separator: str = "auto",
) -> Dataset:
    """Texts with one class each: a .csv, .tsv, .jsonl or .parquet file, or a folder with CLASS/*.txt.

    Words or n-grams, and their frequencies, are learned from the training split without what is held out of it.

    Args:
        train: the training file, with one row, or one JSON object per line, per example; also .gz and .bz2. Or a folder
            with a subfolder of .txt files per class; if it has subfolders `train` and `test`, these are the splits.
        test: the test file or folder; null: none.
        text: the column with the text, which may be empty; null: `text`, or the only column besides the target.
        target: the column with the class; null: `label`, `target`, `class` or `category`, or the only column besides
            `text`.
        features: `ngrams` for `text_linear`: n-grams of words and characters with TF-IDF weights, for any script.
            `ids` for `text_classifier`: ids of lower-case words and punctuation marks; in a script without spaces,
            such as Chinese or Thai, of characters.
        vocabulary: of `ids`: number of distinct words, the most frequent ones; all others share one id.
        max_tokens: of `ids`: number of words and punctuation marks per text; the rest of a longer text is not used.
        encoding: of the files, such as `latin-1`; auto: UTF-8, or UTF-16 with a byte order mark.
        quote: the quotation mark, or `none`; auto: `"` in .csv files, none in .tsv files.
        separator: the character between two cells; auto: tab in .tsv files; a comma in .csv files, or `;`, tab or `|`
            if the first line has no comma.
    """
    file_format = Format(encoding, quote, separator)
    file_format.check()
    context = build_context()
    encoders = TextEncoders.from_json(context.encoders) if context.encoders else None
    columns = Columns(encoders.text, encoders.target) if encoders else Columns(text or "", target or "")
    paths = context.needed(find_splits(train) | ({"test": test} if test else {}))
    splits: dict[str, Arrays] = {}
    others: dict[str, dict[str, list[str]]] = {}
    for split, path in paths.items():
        known = encoders and set(encoders.class_names)
        found = read_texts(path, split, columns, file_format, known, context.rules.columns)
        others[split] = found.others
        if encoders is None:
            columns = found.columns
            names = {"text": columns.text, "target": columns.target, "class_names": class_names(found.labels)}
            fitted = _fitted(found, list(paths), names["class_names"])
            encoders, encoded = TextEncoders.fitted(found.texts, fitted, features, vocabulary, max_tokens, **names)
        else:
            encoded = encoders.encode(found.texts)
        splits[split] = (*encoded[:2], found.classes(encoders.class_names), *encoded[2:])
    assert encoders  # of the training split, which is the first
    identity = (encoders.class_names, encoders.words)
    preview = partial(first_texts, paths.get("train", train), Columns(encoders.text, encoders.target), file_format)
    dataset = text_dataset(splits, encoders.class_names, encoders.vocabulary, identity, encoders)
    return replace(dataset, columns=columns_of(others), preview=preview)


def _fitted(found: Texts, splits: list[str], classes: tuple[str, ...]) -> np.ndarray:
    """Returns which texts of the training split are not held out, bool [texts]."""
    columns = {name: values["train"] for name, values in columns_of({"train": found.others}).items()}
    candidates = Candidates(len(found.texts), splits, found.classes(classes), columns, found.names)
    return training_rows(candidates, build_context().rules)
