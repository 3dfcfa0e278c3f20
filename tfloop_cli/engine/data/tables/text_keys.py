"""Text in a column that examples are split by, as numbers: groups and times."""

import numpy as np
import pyarrow as pa

from tfloop_cli.engine.data.tables.notation import date_form, number_form, parse_dates, parse_numbers
from tfloop_cli.engine.data.tables.values import MISSING_VALUES, Words, is_missing, words_of


def groups_of_text(values: np.ndarray) -> np.ndarray:
    """Returns the number of each value's group, in alphabetical order, from 1 on: int64 [examples].

    Args:
        values: text or None, objects [examples]; None and empty text are group 0.
    """
    words = words_of(pa.chunked_array([pa.array(values, pa.string())]))
    words = words.without(is_missing(words.texts, ()))
    ranks = np.argsort(np.argsort(np.array(words.texts.to_pylist(), str), kind="stable"), kind="stable")
    return words.take(ranks.astype(np.int64) + 1, 0)


def times_of_text(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Returns times whose order is that of the values, [examples], NaN or NaT if unknown; and how they were read.

    They are dates or numbers if all are; else the order is alphabetical.

    Args:
        values: text or None, objects [examples].
    """
    words = words_of(pa.chunked_array([pa.array(values, pa.string())]))
    words = words.without(is_missing(words.texts, MISSING_VALUES))
    if form := date_form(words, least=1.0):
        return parse_dates(words, form).days, form
    if form := number_form(words, "."):
        return parse_numbers(words, form, ".").values, "numbers"
    return _alphabetical(words), "in alphabetical order"


def _alphabetical(words: Words) -> np.ndarray:
    order = np.argsort(np.array(words.texts.to_pylist(), str), kind="stable")
    return words.take(np.argsort(order, kind="stable").astype(np.float64), np.nan)
