"""Texts with a class or a number each, read from files or folders."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from tfloop_cli.engine.data.build_context import DATA, build_context
from tfloop_cli.engine.data.columns import columns_of
from tfloop_cli.engine.data.spec import Dataset
from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.files import file_names, is_folder_of_tables
from tfloop_cli.engine.data.tables.files import find_splits as find_tables
from tfloop_cli.engine.data.tables.folders import labelled_splits
from tfloop_cli.engine.data.text_source import text_dataset
from tfloop_cli.engine.data.texts.building import TextOptions, build_texts, describe_texts
from tfloop_cli.engine.data.texts.encoders import TextEncoders
from tfloop_cli.engine.data.texts.reading import TARGETS, Columns, find_splits, first_texts, other_texts
from tfloop_cli.registry import datasets
from tfloop_cli.registry.argument_types import OnResume, PositiveInt


@datasets.register("text")
def text(
    *,
    train: Annotated[Path | list[Path], OnResume.CHANGES_REST],
    test: Annotated[Path | list[Path] | None, OnResume.CHANGES_REST] = None,
    text: str | None = None,
    target: str | list[str] | None = None,
    classes: Literal["auto"] | bool = "auto",
    features: Literal["ngrams", "ids"] = "ngrams",
    vocabulary: PositiveInt = 20000,
    max_tokens: PositiveInt = 400,
    separator: str = "auto",
    header: Literal["auto", "first_line", "two_lines", "none"] = "auto",
    decimal: Literal["auto", ".", ","] = "auto",
    encoding: str = "auto",
    quote: str = "auto",
    comment: str = "none",
) -> Dataset:
    """Texts with a class or a number each: rows of a file as those of `table`, or a folder with CLASS/*.txt.

    Files are those of `table`, and so is a folder with `train.csv` and perhaps `validation.csv` and `test.csv`.
    Everything is learned from the training split, without what is held out of it: n-grams or words and their
    frequencies. The classes are those of the whole training file. Texts are compared in lower case, after Unicode NFKC.
    Rows without a target are skipped and counted. `group` and `split_by` may name any column of a file.

    Args:
        train: the training file; also a list of files, a pattern such as `data/*.csv`, or `-` for stdin. Or a folder
            with a subfolder of .txt files per class; if it has subfolders `train` and `test`, these are the splits.
        test: the test file or folder, or several files; null: none.
        text: the column with the text, which may be empty; null: `text`, or the only column besides the target.
        target: the column to predict, or a list of several columns of numbers; null: `label`, `target`, `class` or
            `category`, or the only column besides `text`.
        classes: whether the target values are classes; see `table`.
        features: `ngrams` for `text_linear`: n-grams of words and characters with TF-IDF weights, for any script.
            `ids` for `text_classifier`: ids of words and punctuation marks; in a script without spaces, such as Chinese
            or Thai, of characters.
        vocabulary: of `ids`: number of distinct words, the most frequent ones; all others share one id.
        max_tokens: of `ids`: number of words and punctuation marks per text; the rest of a longer text is not used.
        separator: between two cells, such as `;`, `::` or `tab`; auto: detected.
        header: `first_line` has the names, all others are rows; `two_lines`: joined; `none`: they are `column_1`, ...
        decimal: the decimal mark of targets that are numbers; auto: detected.
        encoding: of the files, such as `latin-1`; auto: UTF-8, or UTF-16 with a byte order mark.
        quote: the quotation mark, or `none`; auto: `"`, but none in .tsv files.
        comment: lines that begin with this text are skipped; `none`: there are no such lines.
    """
    dialect = DialectOptions(separator, header, decimal, encoding, quote, comment, free_text=True)
    dialect.check()
    context = build_context()
    targets = (target,) if isinstance(target, str) else tuple(target or ())
    classes = False if classes == "auto" and context.numbers else classes
    options = TextOptions(Columns(text or "", targets), classes, features, vocabulary, max_tokens, dialect)
    fitted = TextEncoders.from_json(context.encoders) if context.encoders else None
    files, notes = _files(train, test, targets)
    encoders, splits, columns = build_texts(files, options, fitted, context.rules)
    names, notes = encoders.target.class_names, list(dict.fromkeys([*notes, *encoders.notes]))
    encoders = replace(encoders, notes=tuple(notes))
    dataset = text_dataset(splits, names, encoders.vocabulary, (names, encoders.words), encoders)
    shown = Columns(encoders.text, encoders.target.names)
    preview = partial(first_texts, files.get("train", file_names(train)), shown, dialect)
    describe = partial(describe_texts, files, options, encoders)
    return replace(dataset, columns=columns_of(columns), preview=preview, describe=describe)


def _files(
    train: Path | list[Path], test: Path | list[Path] | None, targets: tuple[str, ...]
) -> tuple[dict[str, list[str]], list[str]]:
    """Returns the files of each split, or its folder, and notes; those of a folder are in it or in its subfolders."""
    if other := build_context().data:
        return {DATA: file_names(other_texts(other))}, []
    training = build_context().split is None
    paths: dict[str, Path | list[Path]] = {"train": train}
    notes: list[str] = []
    if isinstance(train, Path) and is_folder_of_tables(train):
        found = find_tables(train, training)
        if len(found) > 1:
            found, notes = labelled_splits(found, targets or TARGETS, several=bool(targets))
        paths = {**found}
    elif isinstance(train, Path):
        paths = {**find_splits(train, training)}
    needed = build_context().needed(paths | ({"test": test} if test else {}))
    return {split: file_names(given) for split, given in needed.items()}, notes
